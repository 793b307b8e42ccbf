#include "flow/dis.h"

#include <algorithm>
#include <cmath>
namespace stpl_rt {
namespace {
struct V {
  float u, v;
};
inline float bil(const ImageView<const float>& I, float x, float y) {
  x = std::min(std::max(x, 0.f), float(I.width - 1));
  y = std::min(std::max(y, 0.f), float(I.height - 1));
  int x0 = int(x), y0 = int(y);
  int x1 = std::min(x0 + 1, I.width - 1), y1 = std::min(y0 + 1, I.height - 1);
  float fx = x - x0, fy = y - y0;
  const float *a = I.row(y0), *b = I.row(y1);
  float t = a[x0] + fx * (a[x1] - a[x0]), s = b[x0] + fx * (b[x1] - b[x0]);
  return t + fy * (s - t);
}
}  // namespace
DisFlow::DisFlow(const DisOptions& o) : options_(o) {}
void DisFlow::compute(ImageView<const std::uint8_t> c, ImageView<const std::uint8_t> p, FlowField& out,
                      ThreadPool& pool) {
  const int W = c.width, H = c.height;
  out.resize(W, H);
  out.fill(0);
  int coarsest = options_.finest_scale;
  while ((std::min(W, H) >> (coarsest + 1)) >= options_.patch_size + 4) ++coarsest;
  if ((std::min(W, H) >> options_.finest_scale) < options_.patch_size + 1) return;
  build_levels(c, p, coarsest, pool);
  const FlowField* co = nullptr;
  for (int l = coarsest; l >= options_.finest_scale; --l) {
    Level& L = levels_[l];
    search(L, co, pool);
    co = &L.flow;
  }
  const Level& F = levels_[options_.finest_scale];
  const float s = float(1 << options_.finest_scale);
  ImageView<const float> fx = F.flow.dx.cview(), fy = F.flow.dy.cview();
  pool.parallel_for(H, 8, [&](int a, int b) {
    for (int y = a; y < b; ++y)
      for (int x = 0; x < W; ++x) {
        float X = (x + .5f) / s - .5f, Y = (y + .5f) / s - .5f;
        out.dx.row(y)[x] = s * bil(fx, X, Y);
        out.dy.row(y)[x] = s * bil(fy, X, Y);
      }
  });
}
void DisFlow::build_levels(ImageView<const std::uint8_t> c, ImageView<const std::uint8_t> p, int coarsest,
                           ThreadPool&) {
  levels_.resize(coarsest + 1);
  for (int k = 0; k < 2; ++k) {
    auto& src = k ? p : c;
    for (int l = 0; l <= coarsest; ++l) {
      Image<float>& I = k ? levels_[l].past : levels_[l].current;
      int w = c.width >> l, h = c.height >> l;
      I.resize(w, h);
      if (l == 0) {
        for (int y = 0; y < h; ++y)
          for (int x = 0; x < w; ++x) I.row(y)[x] = src.row(y)[x];
      } else {
        Image<float>& U = k ? levels_[l - 1].past : levels_[l - 1].current;
        for (int y = 0; y < h; ++y) {
          const float *a = U.row(2 * y), *b = U.row(2 * y + 1);
          for (int x = 0; x < w; ++x)
            I.row(y)[x] = .25f * (a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1]);
        }
      }
    }
  }
}
void DisFlow::search(const Level& L0, const FlowField* co, ThreadPool& pool) {
  Level& L = const_cast<Level&>(L0);
  const int W = L.current.width(), H = L.current.height(), P = options_.patch_size, S = options_.patch_stride;
  const int nx = 1 + (W - P) / S, ny = 1 + (H - P) / S;
  patches_.resize(nx * ny);
  next_.resize(nx * ny);
  ImageView<const float> A = L.current.cview(), B = L.past.cview();
  L.flow.resize(W, H);
  auto cost_step = [&](int px, int py, float u, float v, float* du, float* dv) {
    float sd = 0, sd2 = 0, gx = 0, gy = 0, sx = 0, sy = 0, xx = 0, xy = 0, yy = 0;
    const float n = float(P * P);
    float X = px + u, Y = py + v;
    for (int j = 0; j < P; ++j) {
      int y = py + j;
      for (int i = 0; i < P; ++i) {
        int x = px + i;
        float ix = .5f * (A.row(y)[std::min(x + 1, W - 1)] - A.row(y)[std::max(x - 1, 0)]),
              iy = .5f * (A.row(std::min(y + 1, H - 1))[x] - A.row(std::max(y - 1, 0))[x]);
        float d = bil(B, X + i, Y + j) - A.row(y)[x];
        sd += d;
        sd2 += d * d;
        gx += ix * d;
        gy += iy * d;
        sx += ix;
        sy += iy;
        xx += ix * ix;
        xy += ix * iy;
        yy += iy * iy;
      }
    }
    if (du) {
      xx -= sx * sx / n;
      yy -= sy * sy / n;
      xy -= sx * sy / n;
      float det = xx * yy - xy * xy;
      if (det < 1e-3f * n) {
        *du = *dv = 0;
      } else {
        float a = gx - sd * sx / n, b = gy - sd * sy / n;
        *du = (yy * a - xy * b) / det;
        *dv = (xx * b - xy * a) / det;
      }
    }
    return sd2 - sd * sd / n;
  };
  auto descend = [&](int k, int iters) {
    int px = (k % nx) * S, py = (k / nx) * S;
    Patch& q = patches_[k];
    float u = q.u, v = q.v, best = 1e30f, bu = u, bv = v;
    for (int i = 0; i < iters; ++i) {
      float du, dv;
      float c = cost_step(px, py, u, v, &du, &dv);
      if (c >= best) break;
      best = c;
      bu = u;
      bv = v;
      u -= du;
      v -= dv;
      if (!(std::fabs(u) < 4096 && std::fabs(v) < 4096)) break;
    }
    float c = cost_step(px, py, u, v, nullptr, nullptr);
    if (c < best && std::isfinite(u) && std::isfinite(v)) {
      best = c;
      bu = u;
      bv = v;
    }
    if (std::hypot(bu - q.u, bv - q.v) > P) {
      bu = q.u;
      bv = q.v;
      best = cost_step(px, py, bu, bv, nullptr, nullptr);
    }
    next_[k] = {bu, bv, best};
  };
  pool.parallel_for(ny, 1, [&](int a, int b) {
    for (int k = a * nx; k < b * nx; ++k) {
      int px = (k % nx) * S, py = (k / nx) * S;
      float u = 0, v = 0;
      if (co) {
        float X = (px + P / 2) / 2.f - .25f, Y = (py + P / 2) / 2.f - .25f;
        u = 2 * bil(co->dx.cview(), X, Y);
        v = 2 * bil(co->dy.cview(), X, Y);
      }
      patches_[k] = {u, v, 0};
      descend(k, options_.iterations / 2);
    }
  });
  patches_.swap(next_);
  for (int it = 0; it < 2; ++it) {
    pool.parallel_for(ny, 1, [&](int a, int b) {
      for (int k = a * nx; k < b * nx; ++k) {
        int X = k % nx, Y = k / nx;
        Patch q = patches_[k];
        for (int dy = -1; dy <= 1; ++dy)
          for (int dx = -1; dx <= 1; ++dx) {
            int x = X + dx, y = Y + dy;
            if (x < 0 || y < 0 || x >= nx || y >= ny || (!dx && !dy)) continue;
            const Patch& o = patches_[y * nx + x];
            float c = cost_step(X * S, Y * S, o.u, o.v, nullptr, nullptr);
            if (c < q.cost) q = {o.u, o.v, c};
          }
        next_[k] = q;
      }
    });
    patches_.swap(next_);
  }
  pool.parallel_for(ny, 1, [&](int a, int b) {
    for (int k = a * nx; k < b * nx; ++k) descend(k, options_.iterations / 2);
  });
  patches_.swap(next_);
  pool.parallel_for(H, 4, [&](int a, int b) {
    for (int y = a; y < b; ++y)
      for (int x = 0; x < W; ++x) {
        int X1 = std::min(x / S, nx - 1), X0 = std::max(0, (x - P + S) / S), Y1 = std::min(y / S, ny - 1),
            Y0 = std::max(0, (y - P + S) / S);
        X0 = std::min(X0, X1);
        Y0 = std::min(Y0, Y1);
        float su = 0, sv = 0, sw = 0;
        for (int j = Y0; j <= Y1; ++j)
          for (int i = X0; i <= X1; ++i) {
            const Patch& q = patches_[j * nx + i];
            float d = std::fabs(bil(B, x + q.u, y + q.v) - A.row(y)[x]);
            float w = 1 / std::max(1.f, d);
            su += w * q.u;
            sv += w * q.v;
            sw += w;
          }
        L.flow.dx.row(y)[x] = su / sw;
        L.flow.dy.row(y)[x] = sv / sw;
      }
  });
}
}  // namespace stpl_rt

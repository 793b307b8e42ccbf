#include "ops/validity.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

#include "ops/compose.h"
#include "reference.h"

namespace stpl_rt {
namespace {

struct Scene {
  Scene(int width, int height) : current(width, height), past(width, height) {
    latest.resize(width, height);
    composed.resize(width, height);
    latest.fill(0.F);
    composed.fill(0.F);
    current.fill(100);
    past.fill(100);
  }
  const Image<float>& run(ImageView<const float> past_validity = {}) {
    ThreadPool pool(2);
    validity(current.cview(), past.cview(), latest, past_validity, composed, out, pool);
    return out;
  }
  Image<std::uint8_t> current, past;
  FlowField latest, composed;
  Image<float> out;
};

TEST(Validity, AStillSceneIsFullyValid) {
  for (const Size size : {Size{1, 1}, Size{1, 6}, Size{7, 1}, Size{33, 18}}) {
    Scene scene(size.width, size.height);
    const Image<float>& out = scene.run();
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) ASSERT_EQ(out.row(y)[x], 1.F);
    }
  }
}

TEST(Validity, FallsWithThePhotometricResidual) {
  Scene scene(20, 10);
  scene.current.row(5)[5] = 100 + static_cast<int>(kPhotometricGood);
  scene.current.row(5)[6] = 100 + static_cast<int>((kPhotometricGood + kPhotometricBad) / 2);
  scene.current.row(5)[7] = 100 - static_cast<int>(kPhotometricBad);
  const Image<float>& out = scene.run();
  EXPECT_FLOAT_EQ(out.row(5)[5], 1.F);
  EXPECT_FLOAT_EQ(out.row(5)[6], 0.5F);
  EXPECT_FLOAT_EQ(out.row(5)[7], 0.F);
  EXPECT_FLOAT_EQ(out.row(5)[8], 1.F);
}

// The past is compared where the flow says it was.
TEST(Validity, FollowsTheFlow) {
  Scene scene(30, 12);
  for (int y = 0; y < 12; ++y) {
    for (int x = 0; x < 30; ++x) {
      scene.past.row(y)[x] = static_cast<std::uint8_t>(8 * x);
      scene.current.row(y)[x] = static_cast<std::uint8_t>(8 * (x > 6 ? x - 6 : 0));
    }
  }
  EXPECT_EQ(scene.run().row(6)[20], 0.F);  // 48 levels off without flow
  scene.latest.dx.fill(-6.F);
  EXPECT_EQ(scene.run().row(6)[20], 1.F);
}

TEST(Validity, IsZeroWhereThePixelWasOutsideTheKeyFrame) {
  Scene scene(20, 10);
  scene.composed.dx.fill(3.F);
  const Image<float>& out = scene.run();
  EXPECT_EQ(out.row(4)[16], 1.F);   // reads at 19, the last column
  EXPECT_EQ(out.row(4)[17], 0.5F);  // a whole pixel outside
  EXPECT_EQ(out.row(4)[18], 0.F);
  scene.composed.dx.fill(0.F);
  scene.composed.dy.fill(-2.F);
  scene.run();
  EXPECT_EQ(out.row(0)[3], 0.F);
  EXPECT_EQ(out.row(2)[3], 1.F);
}

TEST(Validity, FallsWhereManyPixelsComeFromFew) {
  Scene scene(41, 21);
  for (int y = 0; y < 21; ++y) {
    for (int x = 10; x < 30; ++x)
      scene.latest.dx.row(y)[x] = -0.5F * static_cast<float>(x - 20);  // divergence -0.5
  }
  EXPECT_NEAR(scene.run().row(10)[20], 0.5F, 1e-5);
  for (int y = 0; y < 21; ++y) {
    for (int x = 10; x < 30; ++x)
      scene.latest.dx.row(y)[x] *= -1.F;  // things that shrink were all visible before
  }
  EXPECT_EQ(scene.run().row(10)[20], 1.F);
}

TEST(Validity, CarriesThePastValidityAlongTheFlow) {
  Scene scene(20, 10);
  scene.latest.dx.fill(2.F);
  Image<float> past(20, 10);
  past.fill(0.75F);
  past.row(5)[9] = 0.25F;
  const Image<float>& out = scene.run(past.cview());
  EXPECT_FLOAT_EQ(out.row(5)[7], 0.25F);
  EXPECT_FLOAT_EQ(out.row(5)[9], 0.75F);
}

TEST(Validity, StaysInRangeForFlowThatIsNotFinite) {
  Scene scene(20, 10);
  for (FlowField* flow : {&scene.latest, &scene.composed}) {
    flow->dx.row(3)[3] = std::numeric_limits<float>::quiet_NaN();
    flow->dy.row(5)[8] = std::numeric_limits<float>::infinity();
  }
  const Image<float>& out = scene.run();
  for (int y = 0; y < 10; ++y) {
    for (int x = 0; x < 20; ++x) {
      ASSERT_GE(out.row(y)[x], 0.F);
      ASSERT_LE(out.row(y)[x], 1.F);
    }
  }
  EXPECT_EQ(out.row(3)[3], 0.F);
  EXPECT_EQ(out.row(5)[8], 0.F);
}

TEST(Validity, RefusesSizesThatDiffer) {
  Scene scene(20, 10);
  scene.past.resize(19, 10);
  EXPECT_THROW(scene.run(), Error);
  Scene other(20, 10);
  EXPECT_THROW(other.run(Image<float>(20, 11).cview()), Error);
}

// --- there and back again ---

// Flow of (dx, dy) everywhere.
FlowField uniform(int width, int height, float dx, float dy) {
  FlowField flow;
  flow.resize(width, height);
  flow.dx.fill(dx);
  flow.dy.fill(dy);
  return flow;
}

Image<float> returned(const FlowField& latest, const FlowField& back, float validity = 1.F) {
  Image<float> out(latest.width(), latest.height());
  out.fill(validity);
  ThreadPool pool(2);
  check_return(latest, back, out, pool);
  return out;
}

TEST(Return, WhatComesBackKeepsItsValidity) {
  for (const Size size : {Size{1, 1}, Size{1, 6}, Size{7, 1}, Size{33, 18}}) {
    const Image<float> out =
        returned(uniform(size.width, size.height, 3, -2), uniform(size.width, size.height, -3, 2), 0.75F);
    for (int y = 0; y < size.height; ++y) {
      for (int x = 0; x < size.width; ++x) ASSERT_EQ(out.row(y)[x], 0.75F);
    }
  }
}

TEST(Return, FallsWithTheDistanceFromWhereItBegan) {
  // Of no flow and a flow back: d² against 0.01 d² + 0.5.
  const auto of = [](float distance) {
    return returned(uniform(9, 9, 0, 0), uniform(9, 9, distance, 0)).row(4)[4];
  };
  EXPECT_EQ(of(0.7F), 1.F);
  EXPECT_NEAR(of(1.F), (4 - 1 / 0.51) / 3, 1e-5);
  EXPECT_EQ(of(1.5F), 0.F);
  // Of long ways more is forgiven: 1 pixel of 20 there and 21 back, against 0.01 * 841 + 0.5.
  EXPECT_EQ(returned(uniform(99, 9, 20, 0), uniform(99, 9, -21, 0)).row(4)[4], 1.F);
  EXPECT_EQ(returned(uniform(99, 9, 20, 0), uniform(99, 9, -28, 0)).row(4)[4], 0.F);
}

TEST(Return, ReadsTheFlowBackWhereTheFlowLeads) {
  FlowField back = uniform(30, 9, -6, 0);
  back.dx.row(4)[20] = 8;
  const Image<float> out = returned(uniform(30, 9, 6, 0), back);
  EXPECT_EQ(out.row(4)[14], 0.F);
  EXPECT_EQ(out.row(4)[20], 1.F);
  EXPECT_EQ(out.row(4)[13], 1.F);
}

TEST(Return, TrustsNoFlowThatIsNotFinite) {
  FlowField latest = uniform(20, 10, 0, 0), back = uniform(20, 10, 0, 0);
  latest.dx.row(3)[3] = std::numeric_limits<float>::quiet_NaN();
  back.dy.row(5)[8] = std::numeric_limits<float>::infinity();
  const Image<float> out = returned(latest, back);
  EXPECT_EQ(out.row(3)[3], 0.F);
  EXPECT_EQ(out.row(5)[8], 0.F);
  EXPECT_EQ(out.row(9)[9], 1.F);
}

TEST(Return, RefusesSizesThatDiffer) {
  EXPECT_THROW(returned(uniform(20, 10, 0, 0), uniform(20, 11, 0, 0)), Error);
  Image<float> narrow(19, 10);
  ThreadPool pool(1);
  EXPECT_THROW(check_return(uniform(20, 10, 0, 0), uniform(20, 10, 0, 0), narrow, pool), Error);
}

}  // namespace
}  // namespace stpl_rt

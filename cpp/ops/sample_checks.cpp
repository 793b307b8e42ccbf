#include "ops/sample_checks.h"

#include <string>

namespace stpl_rt {
namespace {

std::string text(Size size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

[[noreturn]] void refuse(const std::string& what, const std::string& expected, const std::string& found) {
  throw Error(ErrorCode::invalid_argument,
              "sample_argmax: " + what + ": expected " + expected + ", found " + found);
}

}  // namespace

void check_logits(const void* data, int classes, Size size) {
  constexpr int kMostClasses = 255;  // labels are bytes, and 255 is kept for "ignore"
  if (classes < 1 || classes > kMostClasses) refuse("classes", "1 to 255", std::to_string(classes));
  if (data == nullptr || size.width < 1 || size.height < 1) {
    refuse("logits", "data of at least 1x1", text(size));
  }
}

void check_sampling(const Geometry& geometry, Size logits, ImageView<std::uint8_t> labels,
                    ImageView<std::uint8_t> confidence) {
  if (geometry.logits != logits) refuse("logits", text(geometry.logits), text(logits));
  if (labels.empty() || labels.size() != geometry.output) {
    refuse("labels", text(geometry.output), labels.empty() ? "none" : text(labels.size()));
  }
  if (!confidence.empty() && confidence.size() != geometry.output) {
    refuse("confidence", text(geometry.output), text(confidence.size()));
  }
}

void check_flow(Size dx, Size dy, ImageView<const float> validity) {
  if (dx.width < 1 || dx.height < 1 || dy != dx) {
    refuse("flow", "two planes of one size, at least 1x1", text(dx) + " and " + text(dy));
  }
  if (!validity.empty() && validity.size() != dx) refuse("validity", text(dx), text(validity.size()));
}

}  // namespace stpl_rt

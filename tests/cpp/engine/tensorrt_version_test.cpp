#include "engine/tensorrt_version.h"

#include <gtest/gtest.h>

namespace stpl_rt::test {
namespace {

TEST(TensorRtVersion, NamesItself) {
  const TensorRtVersion rtx{.major = 1, .minor = 7, .patch = 1, .build = 116};
  EXPECT_EQ(rtx.library(), "tensorrt_rtx");
  EXPECT_EQ(rtx.to_string(), "TensorRT for RTX 1.7.1.116");
  const TensorRtVersion sdk{.major = 10, .minor = 3, .patch = 0, .build = 30};
  EXPECT_EQ(sdk.library(), "tensorrt");
  EXPECT_EQ(sdk.to_string(), "TensorRT 10.3.0.30");
}

TEST(TensorRtVersion, LibrariesGoWithTheirOwnHeadersAndLaterOnesOfTheSameMajorVersion) {
  for (const TensorRtVersion& headers : {TensorRtVersion{10, 3}, {11, 1}, {1, 7}}) {
    EXPECT_FALSE(version_fault(headers, headers));
    EXPECT_FALSE(version_fault(headers, {headers.major, headers.minor + 1}));
    EXPECT_TRUE(version_fault(headers, {headers.major, headers.minor - 1}));
    EXPECT_TRUE(version_fault(headers, {headers.major + 1, headers.minor}));
    EXPECT_TRUE(version_fault(headers, {headers.major - 1, headers.minor + 9}));
  }
}

TEST(TensorRtVersion, OfTwoKindsOnlyPairsThatWereTried) {
  EXPECT_FALSE(version_fault({11, 1}, {1, 7}));
  for (const auto& [headers, library] : {std::pair{TensorRtVersion{11, 1}, TensorRtVersion{1, 6}},
                                         {{11, 1}, {1, 8}},
                                         {{11, 0}, {1, 7}},
                                         {{10, 13}, {1, 7}},
                                         {{1, 7}, {11, 1}}}) {
    const auto fault = version_fault(headers, library);
    ASSERT_TRUE(fault) << headers.to_string() << " with " << library.to_string();
    for (const std::string& part : {headers.to_string(), library.to_string(), std::string("build stpl_rt")}) {
      EXPECT_NE(fault->find(part), std::string::npos) << *fault;
    }
  }
}

}  // namespace
}  // namespace stpl_rt::test

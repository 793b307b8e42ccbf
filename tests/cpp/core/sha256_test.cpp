#include "core/sha256.h"

#include <gtest/gtest.h>
#include <stpl_rt/error.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace stpl_rt {
namespace {

std::string digest(std::string_view text) {
  return sha256({reinterpret_cast<const unsigned char*>(text.data()), text.size()});
}

// The examples of FIPS 180-4 and its test vectors.
TEST(Sha256, MatchesThePublishedExamples) {
  EXPECT_EQ(digest(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, FilesGiveTheDigestOfTheirBytes) {
  const auto path = std::filesystem::temp_directory_path() / "stpl_rt_sha256_test.bin";
  for (const std::size_t size : {0UL, 1UL, 55UL, 56UL, 63UL, 64UL, 65UL, 65536UL, 70001UL}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 + i / 251);
    std::ofstream(path, std::ios::binary) << bytes;
    EXPECT_EQ(sha256_file(path), digest(bytes)) << size;
  }
  std::filesystem::remove(path);
}

TEST(Sha256, AMissingFileIsAnIoError) {
  try {
    sha256_file("no/such/file");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_NE(std::string(error.what()).find("no/such/file"), std::string::npos);
  }
}

}  // namespace
}  // namespace stpl_rt

#include "core/cpu_quota.h"

#include <fstream>

#include "test_bundle.h"

namespace stpl_rt::test {
namespace {

// Control groups as the kernel shows them, in a folder.
class CpuQuota : public testing::Test {
 protected:
  void put(const fs::path& path, const std::string& text) {
    fs::create_directories((folder_.path() / path).parent_path());
    std::ofstream(folder_.path() / path) << text;
  }
  [[nodiscard]] int quota() const {
    return quota_threads(folder_.path() / "self", folder_.path() / "groups");
  }

 private:
  const TemporaryFolder folder_;
};

TEST_F(CpuQuota, IsThatOfTheProcesssGroupOrOneAbove) {
  put("self", "0::/system.slice/camera.service\n");
  EXPECT_EQ(quota(), 0);
  put("groups/system.slice/camera.service/cpu.max", "200000 100000\n");
  EXPECT_EQ(quota(), 2);
  put("groups/system.slice/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 2);
  put("groups/system.slice/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 2) << "one and a half";
  put("groups/system.slice/cpu.max", "50000 100000\n");
  EXPECT_EQ(quota(), 1);
}

TEST_F(CpuQuota, IsTheContainersWhereItsGroupsAreMounted) {
  put("groups/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3) << "nothing is known of the process";
  put("self", "0::/\n");
  EXPECT_EQ(quota(), 3);
  put("self", "0::/docker/0123\n");
  EXPECT_EQ(quota(), 3) << "the path of the host";
}

TEST_F(CpuQuota, IsNoneWhereWhatIsThereIsNone) {
  put("self", "12:cpu:/old\n0::/../outside\n");
  put("groups/cpu.max", "much 100000\n");
  put("cpu.max", "100000 100000\n");
  put("outside/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 0);
}

}  // namespace
}  // namespace stpl_rt::test

// What the streams of one bundle have in common.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace stpl_rt {

// Compiled networks by name and settings, as long as somebody uses them. This layer knows no engine, hence
// void.
class SharedNetworks {
 public:
  // The one under `key`, or what `make` makes, which is then the one. One caller at a time.
  std::shared_ptr<const void> find_or_make(const std::string& key,
                                           const std::function<std::shared_ptr<const void>()>& make) {
    const std::lock_guard lock(mutex_);
    std::weak_ptr<const void>& kept = networks_[key];
    std::shared_ptr<const void> network = kept.lock();
    if (!network) kept = network = make();
    return network;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<const void>> networks_;
};

}  // namespace stpl_rt

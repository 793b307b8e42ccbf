// Memory that is ours but not in use, made known to the address sanitizer. Other builds do nothing here.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define STPL_RT_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STPL_RT_ADDRESS_SANITIZER 1
#endif
#endif

#if defined(STPL_RT_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#endif

namespace stpl_rt {

// Of `capacity` elements only the first `count` may be touched from now on.
template <class T>
void allow_first([[maybe_unused]] T* memory, [[maybe_unused]] std::size_t count,
                 [[maybe_unused]] std::size_t capacity) noexcept {
#if defined(STPL_RT_ADDRESS_SANITIZER)
  ASAN_UNPOISON_MEMORY_REGION(memory, count * sizeof(T));
  ASAN_POISON_MEMORY_REGION(memory + count, (capacity - count) * sizeof(T));
#endif
}

}  // namespace stpl_rt

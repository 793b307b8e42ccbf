// Marks what the shared library shows; all else in it is hidden.
#pragma once

#if defined(__GNUC__)
#define STPL_RT_API __attribute__((visibility("default")))
#else
#define STPL_RT_API
#endif

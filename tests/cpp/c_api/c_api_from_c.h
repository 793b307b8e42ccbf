/* What c_api_from_c.c does, for c_api_test.cpp. */
#pragma once

#include <stpl_rt/c_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A frame's way through the C interface, in C: opens `bundle` and a segmenter, pushes the frame and copies
 * its labels. Everything it made is freed again. */
stpl_status segment_once_from_c(const char* bundle, const stpl_frame* frame, uint8_t* labels);

/* push() and the rest with numbers that no enum has: C takes them without a word. */
stpl_status push_with_numbers(stpl_segmenter* segmenter, stpl_frame frame, int format, int encoding,
                              stpl_result** out);
const char* status_name_of_number(int status);

#ifdef __cplusplus
}
#endif

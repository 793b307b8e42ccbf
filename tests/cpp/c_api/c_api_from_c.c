/* The C interface as C sees it: C11, every warning an error. */
#include "c_api/c_api_from_c.h"

#include <string.h>

stpl_status segment_once_from_c(const char* bundle, const stpl_frame* frame, uint8_t* labels) {
  stpl_bundle* opened = NULL;
  stpl_segmenter* segmenter = NULL;
  stpl_result* result = NULL;
  stpl_options options = stpl_default_options();
  stpl_frame_info info = {0};
  stpl_status status = stpl_bundle_open(bundle, &opened);
  options.schedule = "fixed:5";
  info.has_timestamp = 1;
  info.timestamp = 0.04;
  if (status == STPL_OK) status = stpl_segmenter_create(opened, &options, &segmenter);
  if (status == STPL_OK) status = stpl_segmenter_push(segmenter, frame, &info, &result);
  if (status == STPL_OK) {
    const stpl_map map = stpl_result_labels(result);
    memcpy(labels, map.data, (size_t)map.width * (size_t)map.height);
  }
  stpl_result_free(result);
  stpl_segmenter_free(segmenter);
  stpl_bundle_free(opened);
  return status;
}

stpl_status push_with_numbers(stpl_segmenter* segmenter, stpl_frame frame, int format, int encoding,
                              stpl_result** out) {
  frame.format = (stpl_pixel_format)format;
  frame.encoding = (stpl_yuv_encoding)encoding;
  return stpl_segmenter_push(segmenter, &frame, NULL, out);
}

const char* status_name_of_number(int status) { return stpl_status_name((stpl_status)status); }

/* stpl_rt for C, and for every language that can call C.
 *
 *   stpl_segmenter* segmenter = NULL;
 *   stpl_options options = stpl_default_options();
 *   options.schedule = "fixed:5";
 *   if (stpl_segmenter_open("street.bundle", &options, &segmenter) != STPL_OK) {
 *     fprintf(stderr, "%s\n", stpl_last_error());
 *     return 1;
 *   }
 *   stpl_frame frame = stpl_rgb_frame(pixels, 640, 480);
 *   stpl_result* result = NULL;
 *   if (stpl_segmenter_push(segmenter, &frame, NULL, &result) == STPL_OK) {
 *     use(stpl_result_labels(result).data);
 *     stpl_result_free(result);
 *   }
 *   stpl_segmenter_free(segmenter);
 *
 * Every function that can fail returns a status; on failure it writes nothing to its output, and
 * stpl_last_error() says what was expected and what was found. A segmenter is one stream, used by one thread
 * at a time (STPL_IN_USE otherwise); results may be read and freed by any thread, also after their segmenter.
 * Handles may be NULL where they are freed. */
#ifndef STPL_RT_C_API_H
#define STPL_RT_C_API_H

#include <stddef.h>
#include <stdint.h>
#include <stpl_rt/export.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Grows with every incompatible change of this file. */
#define STPL_C_API_VERSION 3

typedef enum stpl_status {
  STPL_OK = 0,
  STPL_INVALID_ARGUMENT = 1, /* the caller passed something a function cannot take */
  STPL_INVALID_BUNDLE = 2,   /* a bundle's manifest, file or hash is not what it must be */
  STPL_IO = 3,               /* a file could not be read or written */
  STPL_UNSUPPORTED = 4,      /* well-formed, but not available in this build or on this device */
  STPL_IN_USE = 5,           /* another thread is inside, or submitted frames are on their way */
  STPL_ENGINE = 6,           /* the inference engine failed */
  STPL_INTERNAL = 7,         /* a fault of stpl_rt, or out of memory */
  STPL_QUEUE_FULL = 8        /* stpl_segmenter_try_submit() alone: collect first */
} stpl_status;

/* Of the calling thread's last call that failed; "" before. Valid until its next one. */
STPL_RT_API const char* stpl_last_error(void);
/* "invalid_bundle" and so on. */
STPL_RT_API const char* stpl_status_name(stpl_status status);
/* "0.1.0" */
STPL_RT_API const char* stpl_version(void);
/* STPL_C_API_VERSION of the library, to be compared with the header's. */
STPL_RT_API int stpl_c_api_version(void);

/* --- Frames ----------------------------------------------------------------------------------------- */

typedef enum stpl_pixel_format {
  STPL_RGB = 0,
  STPL_BGR = 1,
  STPL_GRAY = 2,
  STPL_NV12 = 3, /* a plane of luma, then Cb and Cr side by side at half the size */
  STPL_I420 = 4  /* a plane of luma, then one of Cb and one of Cr at half the size */
} stpl_pixel_format;

typedef enum stpl_yuv_encoding {
  STPL_BT601 = 0,
  STPL_BT709 = 1,
  STPL_BT601_FULL = 2,
  STPL_BT709_FULL = 3
} stpl_yuv_encoding;

/* Where pixels or vectors lie. Only a segmenter on a GPU takes device memory, of that GPU; pinned and device
 * memory are read after the call: they stay as they are until stpl_result_wait() has returned. */
typedef enum stpl_memory {
  STPL_HOST = 0,
  STPL_PINNED = 1, /* of the host, allocated by CUDA */
  STPL_DEVICE = 2
} stpl_memory;

/* Borrowed pixels: host memory is valid until the call that takes them returns. Fields as in stpl_rt/frame.h;
 * begin with stpl_rgb_frame() or zeros. */
typedef struct stpl_frame {
  const uint8_t* data;
  int width;
  int height;
  ptrdiff_t stride; /* bytes; 0: rows follow each other */
  stpl_pixel_format format;
  const uint8_t* chroma;    /* YUV; NULL: right after the luma */
  const uint8_t* chroma_cr; /* I420; NULL: right after Cb */
  ptrdiff_t chroma_stride;  /* 0: that of luma (NV12), half of it (I420) */
  stpl_yuv_encoding encoding;
  stpl_memory memory; /* of all planes */
} stpl_frame;

/* Dense RGB rows. */
STPL_RT_API stpl_frame stpl_rgb_frame(const uint8_t* data, int width, int height);

/* What may be known of a frame beside its pixels; begin with zeros. */
typedef struct stpl_frame_info {
  int has_timestamp;
  double timestamp; /* seconds; frames missing by it make the next a key frame */
  /* Flow into the frame pushed before, (dx, dy) interleaved in pixels of its own grid; NULL: stpl_rt's own.
   */
  const float* flow;
  int flow_width;
  int flow_height;
  ptrdiff_t flow_stride; /* floats; 0: rows follow each other */
  stpl_memory flow_memory;
} stpl_frame_info;

/* --- Bundles ---------------------------------------------------------------------------------------- */

/* Segmenters of one bundle share its compiled network. */
typedef struct stpl_bundle stpl_bundle;

STPL_RT_API stpl_status stpl_bundle_open(const char* directory, stpl_bundle** out);
STPL_RT_API void stpl_bundle_free(stpl_bundle* bundle);
/* Texts live as long as the bundle. */
STPL_RT_API const char* stpl_bundle_name(const stpl_bundle* bundle);
STPL_RT_API int stpl_bundle_classes(const stpl_bundle* bundle);
/* NULL for a class that is not there. */
STPL_RT_API const char* stpl_bundle_class_name(const stpl_bundle* bundle, int class_id);
/* Red, green, blue; fails for a class that is not there. */
STPL_RT_API stpl_status stpl_bundle_class_color(const stpl_bundle* bundle, int class_id, uint8_t rgb[3]);
STPL_RT_API int stpl_bundle_input_width(const stpl_bundle* bundle);
STPL_RT_API int stpl_bundle_input_height(const stpl_bundle* bundle);
STPL_RT_API int stpl_bundle_logits_width(const stpl_bundle* bundle);
STPL_RT_API int stpl_bundle_logits_height(const stpl_bundle* bundle);
/* Whether the centres of the corner pixels of logits and input lie on each other, else their edges. */
STPL_RT_API int stpl_bundle_align_corners(const stpl_bundle* bundle);
/* The id that stands for "no class" in label files; never a label of a result. */
STPL_RT_API int stpl_bundle_ignore_id(const stpl_bundle* bundle);
/* Whether the bundle has the optional networks of accel mode. */
STPL_RT_API int stpl_bundle_has_fuse(const stpl_bundle* bundle);
STPL_RT_API int stpl_bundle_has_update(const stpl_bundle* bundle);
/* As stpl_options takes it. */
STPL_RT_API const char* stpl_bundle_default_schedule(const stpl_bundle* bundle);
STPL_RT_API const char* stpl_bundle_provenance(const stpl_bundle* bundle); /* JSON */

/* --- Segmenters ------------------------------------------------------------------------------------- */

typedef struct stpl_segmenter stpl_segmenter;
typedef struct stpl_result stpl_result;

typedef struct stpl_options {
  const char* device;    /* "cpu", "cuda", "cuda:1" */
  const char* schedule;  /* "every", "fixed:K", "adaptive[:DRIFT[:LONGEST]]"; NULL: the bundle's own */
  const char* precision; /* "f32", "bf16", "f16" */
  int threads;           /* 0: the cores this process may use */
  int confidence;        /* also compute stpl_result_confidence() */
  int scene_cuts;        /* answer a cut in the video with a key frame */
  int flow_check;        /* search the flow back, too, and trust no pixel that does not return */
  int key_lag;           /* frames by which the network may be late; 0: push waits for it */
  int fuse;              /* accel mode: fuse key frames with what was carried to them */
  int update;            /* accel mode: correct what was carried to the frames between */
  int queue;             /* frames that submit takes before the first result is collected */
  int device_labels;     /* GPU: the maps stay in its memory, and push does not wait for them */
  void* cuda_stream;     /* GPU: the cudaStream_t on which all is enqueued; NULL: one of its own */
  int build_engines;     /* GPU: build a TensorRT plan where the user's cache has none that fits */
  int trust_engines;     /* GPU: use TensorRT plans of the bundle; a plan is code */
} stpl_options;

STPL_RT_API stpl_options stpl_default_options(void);

/* options: NULL for the default. */
STPL_RT_API stpl_status stpl_segmenter_open(const char* bundle_directory, const stpl_options* options,
                                            stpl_segmenter** out);
/* The bundle may be freed before the segmenter. */
STPL_RT_API stpl_status stpl_segmenter_create(const stpl_bundle* bundle, const stpl_options* options,
                                              stpl_segmenter** out);
STPL_RT_API void stpl_segmenter_free(stpl_segmenter* segmenter);
/* Of the segmenter, and valid as long as it is; not to be freed. */
STPL_RT_API const stpl_bundle* stpl_segmenter_bundle(const stpl_segmenter* segmenter);
STPL_RT_API int stpl_segmenter_threads(const stpl_segmenter* segmenter);
STPL_RT_API int stpl_segmenter_queue(const stpl_segmenter* segmenter);
/* On a GPU the cudaStream_t on which all of it is enqueued; NULL on the CPU. */
STPL_RT_API void* stpl_segmenter_cuda_stream(const stpl_segmenter* segmenter);
/* What is pushed from now on comes after all that is on the cudaStream_t `producer` now. */
STPL_RT_API stpl_status stpl_segmenter_order_after(stpl_segmenter* segmenter, void* producer);
/* As the option takes it; valid as long as the segmenter. */
STPL_RT_API const char* stpl_segmenter_schedule(const stpl_segmenter* segmenter);

/* info: NULL where nothing is known. *out is to be freed. */
STPL_RT_API stpl_status stpl_segmenter_push(stpl_segmenter* segmenter, const stpl_frame* frame,
                                            const stpl_frame_info* info, stpl_result** out);
STPL_RT_API stpl_status stpl_segmenter_reset(stpl_segmenter* segmenter);

/* The same in the background. submit waits while the queue is full; frame and flow are copied, unless
 * `release` is given: then the pixels are used where they lie, and release(context) is called once, by any
 * thread, when they are no longer needed (also where the call fails). */
STPL_RT_API stpl_status stpl_segmenter_submit(stpl_segmenter* segmenter, const stpl_frame* frame,
                                              const stpl_frame_info* info, void (*release)(void* context),
                                              void* context);
/* STPL_QUEUE_FULL where submit would wait. */
STPL_RT_API stpl_status stpl_segmenter_try_submit(stpl_segmenter* segmenter, const stpl_frame* frame,
                                                  const stpl_frame_info* info, void (*release)(void* context),
                                                  void* context);
/* Waits for the next result, in the order of the frames. */
STPL_RT_API stpl_status stpl_segmenter_collect(stpl_segmenter* segmenter, stpl_result** out);
/* Waits until nothing of it is at work in the background: what was submitted is done, and stays to be
 * collected, and no late network (key_lag) runs. */
STPL_RT_API stpl_status stpl_segmenter_wait(stpl_segmenter* segmenter);
STPL_RT_API size_t stpl_segmenter_pending(const stpl_segmenter* segmenter);

/* Logits of the latest frame, (classes, height, width); `count` is the room in `out`, which must hold classes
 * * logits height * logits width. */
STPL_RT_API stpl_status stpl_segmenter_logits(stpl_segmenter* segmenter, float* out, size_t count);

/* --- Results ---------------------------------------------------------------------------------------- */

typedef enum stpl_key_reason {
  STPL_KEY_NONE = 0,
  STPL_KEY_FIRST = 1,
  STPL_KEY_SCHEDULE = 2,
  STPL_KEY_DRIFT = 3,
  STPL_KEY_SCENE_CUT = 4,
  STPL_KEY_GAP = 5,
  STPL_KEY_SIZE_CHANGE = 6
} stpl_key_reason;

/* One byte a pixel, rows without padding; valid until the result is freed. data is NULL where there is none.
 */
typedef struct stpl_map {
  const uint8_t* data;
  int width;
  int height;
} stpl_map;

typedef struct stpl_timing {
  double preprocess_ms;
  double flow_ms;
  double network_ms;
  double sample_ms;
  double total_ms;
} stpl_timing;

/* "scene_cut" and so on. */
STPL_RT_API const char* stpl_key_reason_name(stpl_key_reason reason);
STPL_RT_API void stpl_result_free(stpl_result* result);
STPL_RT_API stpl_map stpl_result_labels(const stpl_result* result);
STPL_RT_API stpl_map stpl_result_confidence(const stpl_result* result);
/* With the option device_labels, in place of those above: `data` is an address of the GPU, and the GPU may
 * not have written it yet. */
STPL_RT_API stpl_map stpl_result_device_labels(const stpl_result* result);
STPL_RT_API stpl_map stpl_result_device_confidence(const stpl_result* result);
/* Waits on the host until they are written; STPL_OK at once without device_labels. */
STPL_RT_API stpl_status stpl_result_wait(const stpl_result* result);
/* What is enqueued on the cudaStream_t `reader` from now on comes after they are written, and their memory is
 * not used again before what is on `reader` when the result is freed. */
STPL_RT_API stpl_status stpl_result_read_on(const stpl_result* result, void* reader);
STPL_RT_API int stpl_result_is_key(const stpl_result* result);
STPL_RT_API stpl_key_reason stpl_result_key_reason(const stpl_result* result);
STPL_RT_API int stpl_result_age(const stpl_result* result);
STPL_RT_API double stpl_result_drift(const stpl_result* result);
STPL_RT_API uint64_t stpl_result_frame_index(const stpl_result* result);
STPL_RT_API stpl_timing stpl_result_timing(const stpl_result* result);

#ifdef __cplusplus
}
#endif

#endif /* STPL_RT_C_API_H */

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

/* Grows with every incompatible change of this file. Within one, functions may come, values of enums, and
 * fields at the end of stpl_options, which says its size; no other struct changes. */
#define STPL_C_API_VERSION 4

typedef enum stpl_status {
  STPL_OK = 0,
  STPL_INVALID_ARGUMENT = 1, /* the caller passed something a function cannot take */
  STPL_INVALID_BUNDLE = 2,   /* a bundle's manifest, file or hash is not what it must be */
  STPL_IO = 3,               /* a file could not be read or written */
  STPL_UNSUPPORTED = 4,      /* well-formed, but not available in this build or on this device */
  STPL_IN_USE = 5,           /* another thread is inside, or submitted frames are on their way */
  STPL_ENGINE = 6,           /* the inference engine failed */
  STPL_INTERNAL = 7,         /* a fault of stpl_rt, or out of memory */
  STPL_QUEUE_FULL = 8        /* stpl_segmenter_try_submit() and its like alone: collect first */
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
  double timestamp; /* seconds; two frames or more missing by it make the next a key frame */
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
/* Absolute, without links. */
STPL_RT_API const char* stpl_bundle_directory(const stpl_bundle* bundle);
/* Of the manifest. */
STPL_RT_API int stpl_bundle_schema_version(const stpl_bundle* bundle);

typedef enum stpl_color_order { STPL_ORDER_RGB = 0, STPL_ORDER_BGR = 1 } stpl_color_order;
typedef enum stpl_resize_mode { STPL_STRETCH = 0, STPL_LETTERBOX = 1 } stpl_resize_mode;
typedef enum stpl_resize_filter { STPL_BILINEAR = 0, STPL_AREA = 1 } stpl_resize_filter;

/* The network's input is (resize(lut[pixel]) - mean) / std, in units of 0 to 255, its planes in the colour
 * order. */
STPL_RT_API int stpl_bundle_input_width(const stpl_bundle* bundle);
STPL_RT_API int stpl_bundle_input_height(const stpl_bundle* bundle);
STPL_RT_API stpl_color_order stpl_bundle_input_color_order(const stpl_bundle* bundle);
/* Three numbers in the colour order, which live as long as the bundle. */
STPL_RT_API const float* stpl_bundle_input_mean(const stpl_bundle* bundle);
STPL_RT_API const float* stpl_bundle_input_std(const stpl_bundle* bundle);
/* 3 x 256 bytes, the tables of red, green and blue one after the other, whatever the colour order; NULL: the
 * colours stay as they are. */
STPL_RT_API const uint8_t* stpl_bundle_input_lut(const stpl_bundle* bundle);
STPL_RT_API stpl_resize_mode stpl_bundle_input_resize(const stpl_bundle* bundle);
STPL_RT_API stpl_resize_filter stpl_bundle_input_filter(const stpl_bundle* bundle);
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

/* A network of a bundle; it and all that it says live as long as the bundle. */
typedef struct stpl_network stpl_network;

typedef struct stpl_tensor {
  const char* name;
  const char* type;     /* "float32" */
  const int64_t* shape; /* `dimensions` numbers */
  int dimensions;
} stpl_tensor;

/* "segment", "fuse" or "update"; NULL where the bundle has none of that name. */
STPL_RT_API const stpl_network* stpl_bundle_network(const stpl_bundle* bundle, const char* name);
STPL_RT_API const char* stpl_network_file(const stpl_network* network);   /* absolute, its hash checked */
STPL_RT_API const char* stpl_network_sha256(const stpl_network* network); /* lower-case hexadecimal */
STPL_RT_API int stpl_network_inputs(const stpl_network* network);
STPL_RT_API int stpl_network_outputs(const stpl_network* network);
/* All zero for a tensor that is not there. */
STPL_RT_API stpl_tensor stpl_network_input(const stpl_network* network, int index);
STPL_RT_API stpl_tensor stpl_network_output(const stpl_network* network, int index);
/* TensorRT plans that came with the bundle, of which nothing has been read; NULL for one that is not there.
 */
STPL_RT_API int stpl_network_plans(const stpl_network* network);
STPL_RT_API const char* stpl_network_plan_file(const stpl_network* network, int index);
STPL_RT_API const char* stpl_network_plan_sha256(const stpl_network* network, int index);

typedef enum stpl_schedule_kind {
  STPL_SCHEDULE_EVERY = 0,
  STPL_SCHEDULE_FIXED = 1,
  STPL_SCHEDULE_ADAPTIVE = 2
} stpl_schedule_kind;

typedef struct stpl_schedule {
  stpl_schedule_kind kind;
  int interval; /* frames from one key frame to the next: 1, K, or of an adaptive schedule the most */
  double drift; /* of an adaptive schedule, else 0 */
} stpl_schedule;

/* What a text such as "fixed:5" or "adaptive" says. */
STPL_RT_API stpl_status stpl_schedule_parse(const char* text, stpl_schedule* out);

/* --- Segmenters ------------------------------------------------------------------------------------- */

typedef struct stpl_segmenter stpl_segmenter;
typedef struct stpl_result stpl_result;

/* Begin with stpl_default_options(): it also says how much of the struct this header knows, so that programs
 * that were compiled with an older or a newer one than the library get along with it. */
typedef struct stpl_options {
  size_t struct_size;    /* as stpl_default_options() has set it */
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
  void* cuda_stream; /* GPU: the cudaStream_t on which all is enqueued, not cudaStreamPerThread; NULL: its own
                      */
  int build_engines; /* GPU: build a TensorRT plan where the user's cache has none that fits */
  int trust_engines; /* GPU: use TensorRT plans of the bundle; a plan is code */
} stpl_options;

/* Sets `struct_size` bytes at `options`, sizeof(stpl_options) as the caller knows it, to the defaults. For
 * languages that cannot call stpl_default_options(). */
STPL_RT_API void stpl_options_init(stpl_options* options, size_t struct_size);

static inline stpl_options stpl_default_options(void) {
  stpl_options options;
  stpl_options_init(&options, sizeof(options));
  return options;
}

/* options: NULL for the default. A field that is set and that the library is too old to know is
 * STPL_UNSUPPORTED. */
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
 * thread, when they are no longer needed (also where the call fails). It may free the segmenter; to wait or
 * collect there is refused (STPL_IN_USE). */
STPL_RT_API stpl_status stpl_segmenter_submit(stpl_segmenter* segmenter, const stpl_frame* frame,
                                              const stpl_frame_info* info, void (*release)(void* context),
                                              void* context);
/* STPL_QUEUE_FULL where submit would wait. */
STPL_RT_API stpl_status stpl_segmenter_try_submit(stpl_segmenter* segmenter, const stpl_frame* frame,
                                                  const stpl_frame_info* info, void (*release)(void* context),
                                                  void* context);
/* STPL_QUEUE_FULL where submit would wait for longer than `patience_ms` milliseconds. */
STPL_RT_API stpl_status stpl_segmenter_try_submit_for(stpl_segmenter* segmenter, const stpl_frame* frame,
                                                      const stpl_frame_info* info,
                                                      void (*release)(void* context), void* context,
                                                      int64_t patience_ms);
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
/* One more handle to the same result, to be freed like the first; their maps share one memory. */
STPL_RT_API stpl_status stpl_result_share(const stpl_result* result, stpl_result** out);
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
/* The first half of it: what is enqueued on `reader` from now on comes after they are written. */
STPL_RT_API stpl_status stpl_result_precede(const stpl_result* result, void* reader);
/* Whether they are written; 1 without device_labels. */
STPL_RT_API stpl_status stpl_result_is_ready(const stpl_result* result, int* out);
/* N of "cuda:N" and the cudaStream_t on which they are written; -1 and NULL without device_labels. */
STPL_RT_API int stpl_result_device(const stpl_result* result);
STPL_RT_API void* stpl_result_stream(const stpl_result* result);
/* Copies width * height bytes to the host's memory `out`, of `count` bytes, from wherever they are; waits for
 * the GPU. Fails where there is no such map, or no room. */
STPL_RT_API stpl_status stpl_result_copy_labels(const stpl_result* result, uint8_t* out, size_t count);
STPL_RT_API stpl_status stpl_result_copy_confidence(const stpl_result* result, uint8_t* out, size_t count);
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

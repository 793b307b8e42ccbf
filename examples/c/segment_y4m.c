/* Segments a Y4M video from standard input; prints a line a frame: its time, and the pixels of each class.
 *
 *   cc -std=c11 segment_y4m.c $(pkg-config --cflags --libs stpl_rt) -o segment_y4m
 *   ffmpeg -v error -i drive.mp4 -f yuv4mpegpipe -pix_fmt yuv420p - | ./segment_y4m street.bundle fixed:5
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <stpl_rt/c_api.h>
#include <string.h>

enum { LINE = 4096, MAX_SIDE = 16384 };

/* "YUV4MPEG2 W640 H480 F25:1 C420 ...": sets what a frame of this video has. Returns 0 where it cannot be
 * read. */
static int read_header(FILE* file, stpl_frame* frame) {
  char line[LINE];
  char* token;
  if (fgets(line, sizeof line, file) == NULL || strncmp(line, "YUV4MPEG2 ", 10) != 0) return 0;
  frame->format = STPL_I420;
  for (token = strtok(line, " \n"); token != NULL; token = strtok(NULL, " \n")) {
    if (token[0] == 'W') frame->width = atoi(token + 1);
    if (token[0] == 'H') frame->height = atoi(token + 1);
    if (token[0] == 'C' && (strncmp(token, "C420", 4) != 0 || strncmp(token, "C420p1", 6) == 0)) return 0;
    if (strcmp(token, "XCOLORRANGE=FULL") == 0) frame->encoding = STPL_BT601_FULL;
  }
  return frame->width > 0 && frame->width <= MAX_SIDE && frame->height > 0 && frame->height <= MAX_SIDE;
}

static size_t frame_bytes(const stpl_frame* frame) {
  const size_t chroma = (size_t)((frame->width + 1) / 2) * (size_t)((frame->height + 1) / 2);
  return (size_t)frame->width * (size_t)frame->height + 2 * chroma;
}

/* 1: a frame; 0: the end of the video; -1: cut short. */
static int read_frame(FILE* file, uint8_t* planes, size_t bytes) {
  char line[LINE];
  if (fgets(line, sizeof line, file) == NULL) return 0;
  if (strncmp(line, "FRAME", 5) != 0) return -1;
  return fread(planes, 1, bytes, file) == bytes ? 1 : -1;
}

static void print_result(const stpl_bundle* bundle, const stpl_result* result) {
  const stpl_map labels = stpl_result_labels(result);
  const size_t pixels = (size_t)labels.width * (size_t)labels.height;
  size_t counts[256] = {0};
  size_t i;
  int class_id;
  for (i = 0; i < pixels; ++i) ++counts[labels.data[i]];
  printf("%llu %s %.2f ms:", (unsigned long long)stpl_result_frame_index(result),
         stpl_result_is_key(result) ? "key" : "-", stpl_result_timing(result).total_ms);
  for (class_id = 0; class_id < stpl_bundle_classes(bundle); ++class_id) {
    if (counts[class_id] > 0) printf(" %s %zu", stpl_bundle_class_name(bundle, class_id), counts[class_id]);
  }
  printf("\n");
}

int main(int argc, char** argv) {
  stpl_options options = stpl_default_options();
  stpl_segmenter* segmenter = NULL;
  stpl_result* result = NULL;
  stpl_frame frame = {0};
  uint8_t* planes = NULL;
  size_t bytes = 0;
  int more = -1;
  if (argc < 2 || argc > 3) {
    fprintf(stderr, "usage: %s BUNDLE [every|fixed:K|adaptive] < VIDEO.y4m\n", argv[0]);
    return 2;
  }
  if (argc == 3) options.schedule = argv[2];
  if (stpl_segmenter_open(argv[1], &options, &segmenter) != STPL_OK) {
    fprintf(stderr, "%s\n", stpl_last_error());
    return 2;
  }
  if (read_header(stdin, &frame)) {
    bytes = frame_bytes(&frame);
    frame.data = planes = malloc(bytes); /* one plane after the other, as Y4M has them */
  }
  while (planes != NULL && (more = read_frame(stdin, planes, bytes)) > 0) {
    if (stpl_segmenter_push(segmenter, &frame, NULL, &result) != STPL_OK) break;
    print_result(stpl_segmenter_bundle(segmenter), result);
    stpl_result_free(result);
  }
  if (more > 0) fprintf(stderr, "%s\n", stpl_last_error());
  if (more < 0)
    fprintf(stderr, "standard input: expected Y4M, 8 bits, 4:2:0, found other data or a part of it\n");
  free(planes);
  stpl_segmenter_free(segmenter);
  return more == 0 ? 0 : more > 0 ? 1 : 2;
}

/* Pixels of another number, the very ones that Pillow's resize gives: edge/data/preprocess.py. */
#ifndef MEST_RESIZE_H
#define MEST_RESIZE_H

#include <stdint.h>

/* Pixels wherever they lie: one to the right and one below are so many bytes away, turned pictures included. */
typedef struct {
    const uint8_t *first;
    int64_t right, below;
    int32_t width, height;
    int32_t bands;
} View;

/* Part of a picture resized to `wide` x `high`: `width` x `height` pixels from `left`, `top` on. */
typedef struct {
    int32_t wide, high;
    int32_t left, top, width, height;
    int32_t interpolation; /* MEST_INTERPOLATION_... */
} Resize;

/* Bytes that it takes beside both, of pixels of a size. */
int64_t mest_picture_resize_bytes(int32_t width, int32_t height, const Resize *to);
/* Writes [band][row][column] to `out`. `work` is at a multiple of 8. */
void mest_picture_resize(const View *from, const Resize *to, void *work, uint8_t *out);

#endif

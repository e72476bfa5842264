/* The pixels of a JPEG or PNG file, in memory that the caller has. */
#ifndef MEST_DECODE_H
#define MEST_DECODE_H

#include "source.h"

typedef struct {
    int32_t width, height;
    int32_t bytes; /* of a pixel: 1 grey, 3 blue green red, 4 the same with transparency behind */
    int64_t work_bytes; /* that decoding takes beside the pixels */
} Encoded;

/* Bytes that a decoder and what it reads ahead take. */
int64_t mest_decoder_bytes(void);
/* Begins to read `source` by a decoder in so many bytes of memory, and says what the pixels will take. NULL, or why it cannot
 * be read, in a few words. The part of a PNG whose name begins at `hidden` is passed over; -1: none. */
const char *mest_decode_begin(void *decoder, int png, int64_t hidden, const Source *source, Encoded *found);
/* Writes the pixels, row after row. */
const char *mest_decode(void *decoder, const Source *source, const Encoded *what, uint8_t *pixels, void *work);

#endif

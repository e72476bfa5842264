#include "decode.h"

/* The vendored decoders, whose functions nobody else sees; what is left out of them, third_party/wuffs/README.txt says. */
#define WUFFS_IMPLEMENTATION
#define WUFFS_CONFIG__STATIC_FUNCTIONS
#define WUFFS_CONFIG__DST_PIXEL_FORMAT__ENABLE_ALLOWLIST
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wimplicit-fallthrough"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include "../third_party/wuffs/wuffs.c"
#pragma GCC diagnostic pop

enum { AHEAD_BYTES = 1 << 12, MOST_SIDE = 1 << 24 };

typedef struct {
    wuffs_base__io_buffer ahead;
    wuffs_base__image_decoder *decoder; /* one of both */
    wuffs_base__image_config config;
    int64_t hidden;
    union {
        wuffs_jpeg__decoder jpeg;
        wuffs_png__decoder png;
    } of;
    uint8_t bytes[AHEAD_BYTES];
} Decoder;

int64_t mest_decoder_bytes(void) { return sizeof(Decoder); }

/* What to do about a status: NULL and `*more` where bytes were missing and have come, the reason where it failed. */
static const char *next(Decoder *d, const Source *source, wuffs_base__status status, int *more) {
    *more = 0;
    if (!status.repr || wuffs_base__status__is_note(&status)) return NULL;
    if (status.repr != wuffs_base__suspension__short_read) return wuffs_base__status__message(&status);
    if (d->ahead.meta.closed) return "the file is cut off";
    wuffs_base__io_buffer__compact(&d->ahead);
    const int64_t at = (int64_t)(d->ahead.meta.pos + d->ahead.meta.wi), left = source->from.nbytes - at;
    const size_t room = sizeof d->bytes - d->ahead.meta.wi, count = left < (int64_t)room ? (size_t)left : room;
    if (!room) return "a part of it is longer than any may be";
    if (!mest_source_read(source, d->bytes + d->ahead.meta.wi, count, at)) return "it became shorter while it was read";
    if (d->hidden >= at && d->hidden < at + (int64_t)count) d->bytes[d->ahead.meta.wi + (size_t)(d->hidden - at)] = 'x'; /* a part of no known name */
    d->ahead.meta.wi += count;
    d->ahead.meta.closed = count == (size_t)left;
    *more = 1;
    return NULL;
}

const char *mest_decode_begin(void *decoder, int png, int64_t hidden, const Source *source, Encoded *found) {
    Decoder *d = decoder;
    const char *wrong;
    int more;
    d->hidden = hidden;
    d->ahead = wuffs_base__ptr_u8__writer(d->bytes, sizeof d->bytes);
    wuffs_base__status status = png ? wuffs_png__decoder__initialize(&d->of.png, sizeof d->of.png, WUFFS_VERSION, 0)
                                    : wuffs_jpeg__decoder__initialize(&d->of.jpeg, sizeof d->of.jpeg, WUFFS_VERSION, 0);
    if (status.repr) return wuffs_base__status__message(&status);
    d->decoder = png ? wuffs_png__decoder__upcast_as__wuffs_base__image_decoder(&d->of.png)
                     : wuffs_jpeg__decoder__upcast_as__wuffs_base__image_decoder(&d->of.jpeg);
    do {
        wrong = next(d, source, wuffs_base__image_decoder__decode_image_config(d->decoder, &d->config, &d->ahead), &more);
    } while (more);
    if (wrong) return wrong;
    const uint32_t width = wuffs_base__pixel_config__width(&d->config.pixcfg), height = wuffs_base__pixel_config__height(&d->config.pixcfg);
    const uint32_t kind = wuffs_base__pixel_config__pixel_format(&d->config.pixcfg).repr;
    const int grey = kind == WUFFS_BASE__PIXEL_FORMAT__Y || kind == WUFFS_BASE__PIXEL_FORMAT__Y_16LE || kind == WUFFS_BASE__PIXEL_FORMAT__Y_16BE;
    const uint64_t work = wuffs_base__image_decoder__workbuf_len(d->decoder).min_incl;
    if (!width || !height || width > MOST_SIDE || height > MOST_SIDE || work > INT64_MAX / 4) return "its size is out of range";
    *found = (Encoded){(int32_t)width, (int32_t)height, grey ? 1 : png ? 4 : 3, (int64_t)work};
    return NULL;
}

const char *mest_decode(void *decoder, const Source *source, const Encoded *what, uint8_t *pixels, void *work) {
    Decoder *d = decoder;
    const char *wrong;
    int more;
    wuffs_base__pixel_buffer into = {0};
    const uint32_t kind = what->bytes == 1   ? WUFFS_BASE__PIXEL_FORMAT__Y
                          : what->bytes == 3 ? WUFFS_BASE__PIXEL_FORMAT__BGR
                                             : WUFFS_BASE__PIXEL_FORMAT__BGRA_NONPREMUL;
    const size_t count = (size_t)what->width * (size_t)what->height * (size_t)what->bytes;
    wuffs_base__pixel_config__set(&d->config.pixcfg, kind, WUFFS_BASE__PIXEL_SUBSAMPLING__NONE, (uint32_t)what->width, (uint32_t)what->height);
    const wuffs_base__status set =
        wuffs_base__pixel_buffer__set_from_slice(&into, &d->config.pixcfg, wuffs_base__make_slice_u8(pixels, count));
    if (set.repr) return wuffs_base__status__message(&set);
    do {
        wrong = next(d, source, wuffs_base__image_decoder__decode_frame(d->decoder, &into, &d->ahead, WUFFS_BASE__PIXEL_BLEND__SRC,
                     wuffs_base__make_slice_u8(work, (size_t)what->work_bytes), NULL), &more);
    } while (more);
    return wrong;
}

#include "exif.h"

#include <string.h>

enum { ORIENTATION = 0x0112, MOST_PARTS = 1 << 16 };

/* The EXIF block of a file: where it begins and ends, and which end of a number comes first. */
typedef struct {
    const Source *source;
    int64_t at, nbytes;
    int big;
} Exif;

static uint32_t big_endian(const uint8_t *bytes, int count) {
    uint32_t number = 0;
    for (int i = 0; i < count; i++) number = number << 8 | bytes[i];
    return number;
}

/* A number of the block; -1 outside it. */
static int64_t number(const Exif *e, int64_t start, int count) {
    uint8_t bytes[4], turned[4];
    if (start < 0 || start + count > e->nbytes || !mest_source_read(e->source, bytes, (size_t)count, e->at + start)) return -1;
    for (int i = 0; i < count; i++) turned[i] = bytes[e->big ? i : count - 1 - i];
    return big_endian(turned, count);
}

static int32_t orientation(Exif e) {
    uint8_t order[2];
    if (e.nbytes < 8 || !mest_source_read(e.source, order, 2, e.at) || (memcmp(order, "II", 2) && memcmp(order, "MM", 2))) return 1;
    e.big = order[0] == 'M';
    const int64_t first = number(&e, 4, 4), entries = number(&e, first, 2);
    for (int64_t i = 0; i < entries; i++) {
        const int64_t entry = first + 2 + 12 * i;
        if (number(&e, entry, 2) != ORIENTATION) continue;
        const int64_t kind = number(&e, entry + 2, 2), value = number(&e, entry + 8, kind == 1 ? 1 : kind == 3 ? 2 : 4);
        return (kind == 1 || kind == 3 || kind == 4) && value >= 2 && value <= 8 ? (int32_t)value : 1;
    }
    return 1;
}

/* Segments up to the first scan. */
static void read_jpeg(const Source *source, Container *found) {
    int64_t at = 2;
    int turned = 0;
    for (int i = 0; i < MOST_PARTS; i++) {
        uint8_t head[4], start[6];
        if (!mest_source_read(source, head, sizeof head, at)) return;
        if (head[0] != 0xff) { /* what stands between two segments is passed over */
            at++;
            continue;
        }
        const int marker = head[1];
        if (marker == 0xff) { /* fill */
            at++;
            continue;
        }
        if (marker == 0 || marker == 1 || (marker >= 0xd0 && marker <= 0xd8)) { /* no segment */
            at += 2;
            continue;
        }
        if (marker == 0xda || marker == 0xd9) return;
        const int64_t nbytes = big_endian(head + 2, 2);
        const int has = mest_source_read(source, start, sizeof start, at + 4);
        if (marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc && has) found->colours = start[5];
        if (marker == 0xe1 && !turned && nbytes >= 8 && has && !memcmp(start, "Exif\0", 6)) {
            found->turn = orientation((Exif){source, at + 10, nbytes - 8, 0});
            turned = 1;
        }
        at += 2 + nbytes;
    }
}

static void read_png(const Source *source, Container *found) {
    uint8_t start[26] = {0};
    int64_t at = 8;
    if (!mest_source_read(source, start, sizeof start, 0)) return;
    const int palette = start[25] == 3; /* whose colours stay what they are */
    for (int i = 0; i < MOST_PARTS; i++) {
        uint8_t head[8];
        if (!mest_source_read(source, head, sizeof head, at) || !memcmp(head + 4, "IEND", 4)) return;
        const int64_t nbytes = big_endian(head, 4);
        if (!memcmp(head + 4, "tRNS", 4) && !palette) found->hidden = at + 4;
        if (!memcmp(head + 4, "eXIf", 4)) found->turn = orientation((Exif){source, at + 8, nbytes, 0});
        at += 12 + nbytes;
    }
}

int mest_container(const Source *source, Container *found) {
    uint8_t mark[8] = {0};
    *found = (Container){.hidden = -1, .turn = 1};
    if (!mest_source_read(source, mark, sizeof mark, 0)) return 0;
    found->png = !memcmp(mark, "\x89PNG\r\n\x1a\n", sizeof mark);
    if (found->png) read_png(source, found);
    else if (!memcmp(mark, "\xff\xd8\xff", 3)) read_jpeg(source, found);
    else return 0;
    return 1;
}

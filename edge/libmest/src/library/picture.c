/* A JPEG or PNG file as a sample of the network: upright, in its colours, resized, its centre cut out, as
 * edge/data/preprocess.py does. Nothing is allocated: all of it takes place where the next step will have its arena. */
#include "decode.h"
#include "exif.h"
#include "handle.h"
#include "resize.h"

/* The part of the arena that is still free. */
typedef struct {
    char *at;
    int64_t left, asked; /* `asked`: in all, whether it was there or not */
} Room;

static void *take(Room *room, int64_t nbytes) {
    char *found = room->at;
    const int64_t rounded = (nbytes + 63) / 64 * 64;
    room->asked += rounded;
    if (rounded > room->left) return NULL;
    room->at += rounded;
    room->left -= rounded;
    return found;
}

static int refuse_size(LibmestModel *m, const Source *picture, const Encoded *e, int64_t needed) {
    char takes[24], has[24];
    return mest_fault(&m->fault, OVER_BUDGET, "%s: %dx%d pixels take %s to decode, and %s has %s for pictures; make it smaller, or compile "
                      "with --picture-memory %lldKiB", picture->name, e->width, e->height, mest_size_text(takes, needed), m->plan.source.name,
                      mest_size_text(has, m->plan.head.picture_bytes), (long long)(needed + 1023) / 1024);
}

/* Where not even the decoder finds room, so that what the pixels take is not known. */
static int refuse_decoder(LibmestModel *m, const Source *picture) {
    char has[24];
    return mest_fault(&m->fault, OVER_BUDGET, "%s: %s has %s for pictures, too little to decode any; compile with --picture-memory, 64 KiB "
                      "and 8 bytes for each pixel", picture->name, m->plan.source.name, mest_size_text(has, m->plan.head.picture_bytes));
}

static int unreadable(LibmestModel *m, const Source *picture, const char *why) {
    return mest_fault(&m->fault, BAD_INPUT, "%s: not a readable image (%s); remove or replace it", picture->name, why);
}

/* In the colours of the network, in the place of what was decoded. */
static void convert(uint8_t *pixels, const Encoded *e, int32_t bands) {
    const int64_t count = (int64_t)e->width * e->height;
    const uint8_t *from = pixels;
    if (e->bytes == 1) return;
    for (int64_t i = 0; i < count; i++, from += e->bytes) {
        const uint32_t blue = from[0], green = from[1], red = from[2];
        if (bands == 1) pixels[i] = (uint8_t)((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16);
        else pixels[3 * i] = (uint8_t)red, pixels[3 * i + 1] = (uint8_t)green, pixels[3 * i + 2] = (uint8_t)blue;
    }
}

/* As a person sees it. */
static View upright(const uint8_t *pixels, const Encoded *e, int32_t bands, int32_t turn) {
    const int64_t step = bands, row = step * e->width, last = step * (e->width - 1), bottom = row * (e->height - 1);
    const int mirrored = turn == 2 || turn == 3 || turn == 7 || turn == 8; /* along the file's rows */
    const int upturned = turn == 3 || turn == 4 || turn == 6 || turn == 7;
    View v = {pixels + (mirrored ? last : 0) + (upturned ? bottom : 0), mirrored ? -step : step, upturned ? -row : row, e->width, e->height, bands};
    if (turn < 5) return v;
    return (View){v.first, v.below, v.right, v.height, v.width, bands};
}

/* The size that it is resized to: edge/data/preprocess.py, target. */
static void target(const MestPlan *h, Resize *to, int32_t width, int32_t height) {
    to->wide = width;
    to->high = height;
    if (h->resize_height) {
        to->wide = h->resize_width;
        to->high = h->resize_height;
    } else if (h->resize_short) {
        const int64_t side = h->resize_short;
        const int64_t longer = width <= height ? side * height / width : side * width / height;
        const int32_t other = (int32_t)(longer < side ? side : longer > INT32_MAX ? INT32_MAX : longer);
        to->wide = width <= height ? (int32_t)side : other;
        to->high = width <= height ? other : (int32_t)side;
    }
}

static int crop(LibmestModel *m, const Source *picture, Resize *to) {
    const MestPlan *h = &m->plan.head;
    to->width = h->crop_height ? h->crop_width : to->wide;
    to->height = h->crop_height ? h->crop_height : to->high;
    if (to->width > to->wide || to->height > to->high)
        return mest_fault(&m->fault, BAD_INPUT, "%s: an image of %dx%d is smaller than the artifact's crop %dx%d", picture->name, to->wide, to->high,
                          to->height, to->width);
    if (to->width != h->width || to->height != h->height)
        return mest_fault(&m->fault, BAD_INPUT, "%s: is %dx%d once it is prepared, the network takes %dx%d; give pictures of that size",
                          picture->name, to->width, to->height, h->width, h->height);
    to->left = (to->wide - to->width) / 2;
    to->top = (to->high - to->height) / 2;
    return DONE;
}

static int read_picture(LibmestModel *m, const Source *picture, uint8_t *pixels) {
    const MestPlan *h = &m->plan.head;
    Room room = {m->machine.arena, h->picture_bytes, 0};
    Container container;
    Encoded e;
    if (!mest_container(picture, &container)) return unreadable(m, picture, "no JPEG or PNG file");
    if (container.colours == 4) return unreadable(m, picture, "four colours, for print; save it in three");
    void *decoder = take(&room, mest_decoder_bytes());
    if (!decoder) return refuse_decoder(m, picture);
    const char *wrong = mest_decode_begin(decoder, container.png, container.hidden, picture, &e);
    if (wrong) return unreadable(m, picture, wrong);
    uint8_t *decoded = take(&room, (int64_t)e.width * e.height * e.bytes);
    const int32_t bands = e.bytes == 1 ? 1 : h->channels;
    const int32_t width = container.turn < 5 ? e.width : e.height, height = container.turn < 5 ? e.height : e.width;
    Resize to = {.interpolation = h->interpolation};
    target(h, &to, width, height);
    const int misfit = crop(m, picture, &to);
    if (misfit) return misfit;
    if (to.wide == width && to.high == height) to.interpolation = MEST_INTERPOLATION_NEAREST; /* stays as it is */
    const int64_t resampling = mest_picture_resize_bytes(width, height, &to);
    void *work = take(&room, resampling > e.work_bytes ? resampling : e.work_bytes); /* one after the other */
    if (!decoded || !work) return refuse_size(m, picture, &e, room.asked);
    wrong = mest_decode(decoder, picture, &e, decoded, work);
    if (wrong) return unreadable(m, picture, wrong);
    convert(decoded, &e, bands);
    const View view = upright(decoded, &e, bands, container.turn);
    mest_picture_resize(&view, &to, work, pixels);
    for (int64_t i = (int64_t)h->height * h->width; bands < h->channels && i < mest_plan_input(&m->plan); i++)
        pixels[i] = pixels[i - (int64_t)h->height * h->width]; /* a grey one has all colours alike */
    return DONE;
}

int libmest_read_picture(LibmestModel *m, const LibmestSource *picture, void *pixels) {
    Source source = {0};
    const int wrong = mest_need(m, 0);
    if (wrong) return wrong;
    if (!m->plan.head.images) return mest_fault(&m->fault, BAD_INPUT, "%s: takes numbers, not pictures", m->plan.source.name);
    mest_source_take(&source, picture, NULL);
    return read_picture(m, &source, pixels);
}

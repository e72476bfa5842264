/* How a photo is turned. */
#ifndef MEST_EXIF_H
#define MEST_EXIF_H

#include "source.h"

typedef struct {
    int png;
    int32_t colours; /* of a JPEG's frame: 1, 3 or 4; 0 where it is not known */
    int64_t hidden;  /* of a PNG's: where the name of the part begins that makes one colour transparent, -1 for none */
    int32_t turn;    /* EXIF's orientation from 1 (upright) to 8; 1 where nothing is said or nothing that makes sense */
} Container;

/* What stands in a JPEG or PNG file around the pixels; 0 where it is neither. */
int mest_container(const Source *source, Container *found);

#endif

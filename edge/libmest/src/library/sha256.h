/* SHA-256 (FIPS 180-4). */
#ifndef MEST_SHA256_H
#define MEST_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} Sha256;

void mest_sha256_begin(Sha256 *s);
void mest_sha256_add(Sha256 *s, const void *bytes, size_t count);
/* The digest as the files hold it: four numbers whose bytes, little-endian and in order, are those of the digest. */
void mest_sha256_end(Sha256 *s, int64_t digest[4]);

#endif

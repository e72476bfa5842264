/* Floats that are kept in fewer bits: bfloat16, the upper half of a float, and int8 with a scale for every few of them.
 *
 * int8 lies in groups of MEST_SAVED_GROUP bytes, each behind its scale: the largest number's size over 127. One code
 * stands for all of them: a number that is not finite makes its whole group NaN. The same floats give the same bytes on
 * any number of threads. */
#ifndef MEST_NARROW_H
#define MEST_NARROW_H

#include "../program.h"
#include "vector.h"

enum { SAVED_GROUP_BYTES = 4 + MEST_SAVED_GROUP };

typedef uint32_t word __attribute__((may_alias));

MEST_INLINE float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest, of two as near the even one; NaN stays NaN. */
MEST_INLINE void narrow_bfloat16(uint16_t *restrict out, const float *restrict x, long n) {
    const word *bits = (const word *)x;
    for (long i = 0; i < n; i++) {
        const uint32_t b = bits[i], near = b + 0x7fffu + (b >> 16 & 1u);
        out[i] = (uint16_t)(((b & 0x7fffffffu) > 0x7f800000u ? b | 0x400000u : near) >> 16);
    }
}

MEST_INLINE void widen_bfloat16(float *restrict out, const uint16_t *restrict x, long n) {
    word *bits = (word *)out;
    for (long i = 0; i < n; i++) bits[i] = (uint32_t)x[i] << 16;
}

/* One group of at most MEST_SAVED_GROUP floats. */
MEST_INLINE void narrow_int8(char *restrict group, const float *restrict x, long n) {
    const word *bits = (const word *)x;
    int8_t *restrict out = (int8_t *)group + 4;
    uint32_t largest = 0;
    for (long i = 0; i < n; i++) {
        const uint32_t size = bits[i] & 0x7fffffffu;
        largest = size > largest ? size : largest;
    }
    const int finite = largest < 0x7f800000u;
    const float size = float_of(largest), scale = finite ? size * (1.0f / 127) : float_of(0x7fc00000u);
    const float steps = finite && size > 1e-30f ? 127.0f / size : 0; /* below, they would not be finite */
    memcpy(group, &scale, sizeof scale);
    for (long i = 0; i < n; i++) {
        const float near = (finite ? x[i] : 0) * steps + 12582912.0f; /* 1.5 * 2^23: the last byte is the nearest integer */
        uint32_t code;
        memcpy(&code, &near, sizeof code);
        out[i] = (int8_t)(code & 0xffu);
    }
}

MEST_INLINE void widen_int8(float *restrict out, const char *restrict from, long at, long n) {
    while (n > 0) {
        const char *group = from + at / MEST_SAVED_GROUP * SAVED_GROUP_BYTES;
        const long first = at % MEST_SAVED_GROUP, m = MEST_SAVED_GROUP - first < n ? MEST_SAVED_GROUP - first : n;
        const int8_t *restrict x = (const int8_t *)group + 4 + first;
        float scale;
        memcpy(&scale, group, sizeof scale);
        for (long i = 0; i < m; i++) out[i] = (float)x[i] * scale;
        out += m, at += m, n -= m;
    }
}

/* out[0..n) = the floats from number `at` on of a tensor that is stored so; not of one stored as floats. */
MEST_INLINE void widen(float *out, const float *stored, int storage, long at, long n) {
    if (storage == MEST_SAVED_BFLOAT16) widen_bfloat16(out, (const uint16_t *)(const void *)stored + at, n);
    else widen_int8(out, (const char *)stored, at, n);
}

#endif

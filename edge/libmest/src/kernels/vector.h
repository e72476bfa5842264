/* One vector of MEST_VL floats, and the sizes of the register blocks for this instruction set. */
#ifndef MEST_VECTOR_H
#define MEST_VECTOR_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#ifndef MEST_VL
#error "MEST_VL: compile this file through isa.c with the number of floats in a vector"
#endif

#define MEST_INLINE static inline __attribute__((always_inline))

#if MEST_VL > 1
typedef float vf __attribute__((vector_size(MEST_VL * 4)));
typedef float vfu __attribute__((vector_size(MEST_VL * 4), aligned(4), may_alias));

MEST_INLINE vf load(const float *p) { return *(const vfu *)p; }
MEST_INLINE void store(float *p, vf x) { *(vfu *)p = x; }
MEST_INLINE vf splat(float x) { return x - (vf){0}; }

/* Keeps a loaded vector in a register: compilers may otherwise repeat the load in every use. */
#if defined(__x86_64__) && MEST_VL == 16
#define MEST_PIN(x) __asm__("" : "+v"(x))
#elif defined(__x86_64__)
#define MEST_PIN(x) __asm__("" : "+x"(x))
#elif defined(__aarch64__)
#define MEST_PIN(x) __asm__("" : "+w"(x))
#else
#define MEST_PIN(x) (void)0
#endif

MEST_INLINE float total(vf x) {
#if defined(__AVX512F__) && MEST_VL == 16
    return _mm512_reduce_add_ps((__m512)x);
#elif defined(__AVX__) && MEST_VL == 8
    __m128 s = _mm_add_ps(_mm256_castps256_ps128((__m256)x), _mm256_extractf128_ps((__m256)x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
#elif defined(__aarch64__) && MEST_VL == 4
    return vaddvq_f32((float32x4_t)x);
#else
    float s = 0;
    for (int i = 0; i < MEST_VL; i++) s += x[i];
    return s;
#endif
}

/* out[k] += the sum of x[k]'s lanes, for eight vectors together. */
#if defined(__x86_64__) && defined(__AVX__) && MEST_VL >= 8
MEST_INLINE __m256 half_sum(vf x) {
#if MEST_VL == 16
    return _mm256_add_ps(_mm512_castps512_ps256((__m512)x), _mm512_extractf32x8_ps((__m512)x, 1));
#else
    return (__m256)x;
#endif
}

MEST_INLINE void add_totals8(float *out, const vf *x) {
    const __m256 a = _mm256_hadd_ps(half_sum(x[0]), half_sum(x[1])), b = _mm256_hadd_ps(half_sum(x[2]), half_sum(x[3]));
    const __m256 c = _mm256_hadd_ps(half_sum(x[4]), half_sum(x[5])), d = _mm256_hadd_ps(half_sum(x[6]), half_sum(x[7]));
    const __m256 e = _mm256_hadd_ps(a, b), f = _mm256_hadd_ps(c, d);
    const __m256 sums = _mm256_add_ps(_mm256_permute2f128_ps(e, f, 0x20), _mm256_permute2f128_ps(e, f, 0x31));
    _mm256_storeu_ps(out, _mm256_add_ps(_mm256_loadu_ps(out), sums));
}
#else
MEST_INLINE void add_totals8(float *out, const vf *x) {
    for (int k = 0; k < 8; k++) out[k] += total(x[k]);
}
#endif
#endif

/* Vectors of accumulators for one, two and four rows at once, and entries per pass of the weight gradient. */
#if MEST_VL == 16 || (defined(__aarch64__) && MEST_VL == 4)
enum { NV1 = 8, NV2 = 8, NV4 = 4, NB1 = 8, NB2 = 6, NB4 = 4 };
#else
enum { NV1 = 8, NV2 = 4, NV4 = 2, NB1 = 6, NB2 = 4, NB4 = 2 };
#endif


#endif

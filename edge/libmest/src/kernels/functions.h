/* Exponential functions over one number of the instruction set at a time: a vector, or a float where it has none.
 *
 * No branches and no calls. Each is right to a few units in the last place over all floats; NaN gives NaN. A `truth` is
 * what a comparison gives: all bits or none of a vector's numbers, 1 or 0 for a float. */
#ifndef MEST_FUNCTIONS_H
#define MEST_FUNCTIONS_H

#include <math.h>

#include "vector.h"

#if MEST_VL > 1
typedef vf real;
typedef int32_t truth __attribute__((vector_size(MEST_VL * 4)));
typedef uint32_t pattern __attribute__((vector_size(MEST_VL * 4)));
MEST_INLINE real all(float x) { return splat(x); }
MEST_INLINE pattern bits_of(real x) { return (pattern)x; }
MEST_INLINE real real_of(pattern bits) { return (real)bits; }
MEST_INLINE real choose(truth first, real x, real y) { return (real)((first & (truth)x) | (~first & (truth)y)); }
#else
typedef float real;
typedef int truth;
typedef uint32_t pattern;
MEST_INLINE real all(float x) { return x; }
MEST_INLINE pattern bits_of(real x) {
    pattern bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
MEST_INLINE real real_of(pattern bits) {
    real x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
MEST_INLINE real choose(truth first, real x, real y) { return first ? x : y; }
#endif

MEST_INLINE real size_of(real x) { return real_of(bits_of(x) & 0x7fffffffu); }
MEST_INLINE real with_sign(real size, real sign) { return real_of(bits_of(size) | (bits_of(sign) & 0x80000000u)); }
MEST_INLINE real at_least(real x, float low) { return choose(x < all(low), all(low), x); }
MEST_INLINE real at_most(real x, float high) { return choose(x > all(high), all(high), x); }

/* e^x for x from -87.3 to 88.3, the value at the bound beyond: 2^n times a polynomial of what is left, |r| <= ln 2 / 2. */
MEST_INLINE real exponential(real x) {
    x = at_most(at_least(x, -87.3f), 88.3f);
    const real shifted = x * 1.44269504f + 12582912.0f; /* 1.5 * 2^23: the sum's last bits are the nearest integer */
    const real n = shifted - 12582912.0f;
    const real r = x - n * 0.693359375f - n * -2.12194440e-4f;
    real p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    return (p * r * r + r + 1.0f) * real_of((bits_of(shifted) << 23) + 0x3f800000u);
}

/* e^x of every x, the square of half the way: infinite or 0 where floats end, so that a run sees that they did. */
MEST_INLINE real exponential_of_all(real x) {
    const real half = exponential(x * 0.5f);
    return half * half;
}

MEST_INLINE real root(real x) {
#if MEST_VL > 1
    real found;
    for (int i = 0; i < MEST_VL; i++) found[i] = sqrtf(x[i]);
    return found;
#else
    return sqrtf(x);
#endif
}

/* e^x - 1 for x up to 0, without the cancellation near it. */
MEST_INLINE real exponential_less_one(real x) {
    real p = x * (1.0f / 362880) + 1.0f / 40320;
    p = p * x + 1.0f / 5040;
    p = p * x + 1.0f / 720;
    p = p * x + 1.0f / 120;
    p = p * x + 1.0f / 24;
    p = p * x + 1.0f / 6;
    p = p * x + 0.5f;
    return choose(x > all(-0.7f), p * x * x + x, exponential(x) - 1.0f);
}

/* ln(1 + x) for x from 0 to 1: 2 artanh(x / (2 + x)), whose argument is a third at most. */
MEST_INLINE real log_one_more(real x) {
    const real s = x / (x + 2.0f), z = s * s;
    real p = z * (1.0f / 17) + 1.0f / 15;
    p = p * z + 1.0f / 13;
    p = p * z + 1.0f / 11;
    p = p * z + 1.0f / 9;
    p = p * z + 1.0f / 7;
    p = p * z + 1.0f / 5;
    p = p * z + 1.0f / 3;
    return 2.0f * (s + s * z * p);
}

/* 1 / (1 + e^-x), as precise towards 0 as towards 1. */
MEST_INLINE real logistic(real x) {
    const real e = exponential(-size_of(x)), part = 1.0f / (e + 1.0f);
    return choose(x < all(0), e * part, part);
}

/* The hyperbolic tangent; the polynomial of Cephes (Moshier) near 0. */
MEST_INLINE real hyperbolic_tangent(real x) {
    const real size = size_of(x), z = x * x;
    real p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z + -5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z + -3.33332819422e-1f;
    const real far = 1.0f - 2.0f / (exponential(at_most(size, 20.0f) * 2.0f) + 1.0f);
    return choose(size < all(0.625f), x + x * z * p, with_sign(far, x));
}

/* The density and the distribution function of the standard normal; erfc as in Numerical Recipes (Press et al., 6.2). */
MEST_INLINE real normal_density(real x) { return exponential(x * x * -0.5f) * 0.398942280f; }

MEST_INLINE real normal_distribution(real x) {
    const real z = size_of(x) * 0.707106781f, t = 1.0f / (z * 0.5f + 1.0f);
    real p = t * 0.17087277f + -0.82215223f;
    p = p * t + 1.48851587f;
    p = p * t + -1.13520398f;
    p = p * t + 0.27886807f;
    p = p * t + -0.18628806f;
    p = p * t + 0.09678418f;
    p = p * t + 0.37409196f;
    p = p * t + 1.00002368f;
    p = p * t + -1.26551223f;
    const real half = t * exponential(p - z * z) * 0.5f;
    return choose(x < all(0), half, 1.0f - half);
}

#endif

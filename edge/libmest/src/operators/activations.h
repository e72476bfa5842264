/* Activations: one row each, in the order of ACTS in vocabulary.py, from which everything that reads through one is made.
 *
 * A row says the value of u, and the gradient of u where the value's is g. Fused ones have loops of their own wherever a
 * tensor is read, so they are few and cheap: arithmetic and comparisons that floats and vectors have alike; `&` joins two of
 * those, and KEEP(condition, x) is x or 0. All others are applied in a pass of their own, to `real` numbers
 * (kernels/functions.h), with their `alpha` and `beta`. */
#ifndef MEST_ACTIVATIONS_H
#define MEST_ACTIVATIONS_H

#include "context.h"
#include "../kernels/functions.h"

/* NaN stays NaN, so that a diverged run is seen in the loss. No row branches on its number: of rows shorter than a vector
 * every second jump would be guessed wrong. */
#define MEST_FUSED(X, with)                                                                         \
    X(with, NONE, u, g)                                                                             \
    X(with, RELU, floor_at(u, 0), KEEP(u > 0.0f, g))                                                \
    X(with, RELU6, cap_at(floor_at(u, 0), 6), KEEP((u > 0.0f) & (u < 6.0f), g))                     \
    X(with, HARD_SWISH, u * (cap_at(floor_at(u + 3, 0), 6) * (1.0f / 6)),                           \
      KEEP((u > -3.0f) & (u < 3.0f), g * (u * (1.0f / 3) + 0.5f)) + KEEP(u >= 3.0f, g))

#define MEST_FUNCTIONS(X, with)                                                                     \
    X(with, SIGMOID, logistic(u), g * logistic_slope(u))                                            \
    X(with, HARD_SIGMOID, at_most(at_least(u * alpha + beta, 0), 1),                                \
      keep((u * alpha + beta > all(0)) & (u * alpha + beta < all(1)), g * alpha))                   \
    X(with, SILU, u * logistic(u), g * (logistic(u) + u * logistic_slope(u)))                       \
    X(with, TANH, hyperbolic_tangent(u), g * 4.0f * logistic_slope(u * 2.0f))                       \
    X(with, GELU, u * normal_distribution(u), g * (normal_distribution(u) + u * normal_density(u))) \
    X(with, GELU_TANH, u * logistic(gelu_argument(u)),                                              \
      g * (logistic(gelu_argument(u)) + u * logistic_slope(gelu_argument(u)) * gelu_argument_slope(u))) \
    X(with, LEAKY_RELU, choose(u < all(0), u * alpha, u), choose(u > all(0), g, g * alpha))         \
    X(with, ELU, beta * choose(u < all(0), alpha * exponential_less_one(at_most(u, 0)), u),         \
      g * beta * choose(u > all(0), all(1), alpha * exponential(at_most(u, 0))))                    \
    X(with, SOFTPLUS, choose(u * alpha > all(beta), u, log_one_more(exponential(-size_of(u * alpha))) / alpha + at_least(u, 0)), \
      g * choose(u * alpha > all(beta), all(1), logistic(u * alpha)))                               \
    X(with, CLIP, at_most(at_least(u, alpha), beta), keep((u > all(alpha)) & (u < all(beta)), g))   \
    X(with, MISH, u * mish_factor(u), g * (mish_factor(u) + u * mish_factor_slope(u)))              \
    X(with, CELU, choose(u < all(0), alpha * exponential_less_one(at_most(u, 0) / alpha), u),       \
      g * choose(u > all(0), all(1), exponential(at_most(u, 0) / alpha)))                           \
    X(with, EXP, exponential_of_all(u), g * exponential_of_all(u))                                  \
    X(with, SQRT, root(at_least(u, 0)), keep(u > all(0), g * 0.5f / root(u)))

#define MEST_ACT_ROW(with, NAME, value, gradient) ACT_ROW_##NAME,
enum { MEST_FUSED(MEST_ACT_ROW, ) FUSED_ROWS };
enum { BEFORE_FUNCTIONS = FUSED_ROWS - 1, MEST_FUNCTIONS(MEST_ACT_ROW, ) ACT_ROWS };
#undef MEST_ACT_ROW
_Static_assert((int)FUSED_ROWS == (int)MEST_FUSED_ACTS && (int)ACT_ROWS == (int)MEST_ACTS, "as many as Python knows");
#define MEST_ACT_ORDER(with, NAME, value, gradient) \
    _Static_assert((int)ACT_ROW_##NAME == (int)MEST_ACT_##NAME, #NAME " stands where Python has it");
MEST_FUSED(MEST_ACT_ORDER, )
MEST_FUNCTIONS(MEST_ACT_ORDER, )
#undef MEST_ACT_ORDER

/* `call` with a fused activation as a constant, so that there is a loop without branches for each; NONE for the others. */
#define MEST_ACT_CASE(call, NAME, value, gradient) \
    case MEST_ACT_##NAME: call(MEST_ACT_##NAME); break;
#define BY_ACT(act, call) \
    switch (fused(act) ? (act) : MEST_ACT_NONE) { MEST_FUSED(MEST_ACT_CASE, call) }

MEST_INLINE int fused(int act) { return act < MEST_FUSED_ACTS; }

/* One of two numbers by their bits: of a conditional expression compilers make a jump. */
MEST_INLINE float choose_float(int condition, float x, float otherwise) {
    union { float number; int32_t bits; } one = {x}, other = {otherwise};
    one.bits = (one.bits & -condition) | (other.bits & (condition - 1));
    return one.number;
}

MEST_INLINE float keep_float(int condition, float x) { return choose_float(condition, x, 0); }
MEST_INLINE float floor_at(float u, float bound) { return choose_float(u < bound, bound, u); }
MEST_INLINE float cap_at(float u, float bound) { return choose_float(u > bound, bound, u); }

#if MEST_VL > 1
MEST_INLINE vf keep_vector(truth condition, vf x) { return (vf)((truth)x & condition); }
#define KEEP(condition, x) _Generic((x), float: keep_float, vf: keep_vector)(condition, x)
#else
#define KEEP(condition, x) keep_float(condition, x)
#endif

#define MEST_ACT_VALUE(with, NAME, value, gradient) \
    case MEST_ACT_##NAME: return value;
#define MEST_ACT_GRADIENT(with, NAME, value, gradient) \
    case MEST_ACT_##NAME: return gradient;

MEST_INLINE float activate(float u, const int act) {
    switch (act) { MEST_FUSED(MEST_ACT_VALUE, ) }
    return u;
}

#define MEST_ACT_CHOICE(with, NAME, value, gradient) act == MEST_ACT_##NAME ? (gradient) :
MEST_INLINE float act_gradient(float u, float g, int act) { return MEST_FUSED(MEST_ACT_CHOICE, ) g; }

#if MEST_VL > 1
MEST_INLINE vf act_gradients(vf u, vf g, const int act) {
    switch (act) { MEST_FUSED(MEST_ACT_GRADIENT, ) }
    return g;
}
#endif

/* What rows of MEST_FUNCTIONS are written with. */
MEST_INLINE real keep(truth condition, real x) { return choose(condition, x, all(0)); }

MEST_INLINE real logistic_slope(real u) { /* e / (1 + e)^2, which does not round to 0 where the value does to 1 */
    const real e = exponential(-size_of(u)), part = 1.0f / (e + 1.0f);
    return e * part * part;
}

/* The tanh form of GELU is u * logistic(2 * sqrt(2 / pi) * (u + 0.044715 u^3)); beyond 10 the logistic is 0 or 1. */
MEST_INLINE real gelu_argument(real u) {
    const real v = at_most(at_least(u, -10), 10);
    return v * (v * v * (0.044715f * 1.59576912f) + 1.59576912f);
}

MEST_INLINE real gelu_argument_slope(real u) {
    const real v = at_most(at_least(u, -10), 10);
    return v * v * (3 * 0.044715f * 1.59576912f) + 1.59576912f;
}

/* tanh(softplus(u)) = n / (n + 2) with n = e^u (e^u + 2), which is 1 beyond 20; its slope is 4 e^u (e^u + 1) / (n + 2)^2. */
MEST_INLINE real mish_factor(real u) {
    const real e = exponential(at_most(u, 20)), n = e * (e + 2.0f);
    return n / (n + 2.0f);
}

MEST_INLINE real mish_factor_slope(real u) {
    const real e = exponential(at_most(u, 20)), n = e * (e + 2.0f) + 2.0f;
    return 4.0f * e * (e + 1.0f) / n / n;
}

#if MEST_VL > 1
enum { REALS = MEST_VL };
MEST_INLINE real take(const float *p) { return load(p); }
MEST_INLINE void put(float *p, real x) { store(p, x); }
#else
enum { REALS = 1 };
MEST_INLINE real take(const float *p) { return *p; }
MEST_INLINE void put(float *p, real x) { *p = x; }
#endif

/* The first n numbers of a `real`, with zeros behind them, and back: tensors are read a few samples at a time too. */
#if MEST_VL == 16 && defined(__AVX512F__)
MEST_INLINE real take_part(const float *p, long n) { return (real)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p); }
MEST_INLINE void put_part(float *p, real x, long n) { _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x); }
#elif MEST_VL == 8 && defined(__AVX2__)
MEST_INLINE __m256i first_of(long n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
MEST_INLINE real take_part(const float *p, long n) { return (real)_mm256_maskload_ps(p, first_of(n)); }
MEST_INLINE void put_part(float *p, real x, long n) { _mm256_maskstore_ps(p, first_of(n), (__m256)x); }
#else
MEST_INLINE real take_part(const float *p, long n) {
    float part[REALS] = {0};
    memcpy(part, p, (size_t)n * 4);
    return take(part);
}
MEST_INLINE void put_part(float *p, real x, long n) {
    float part[REALS];
    put(part, x);
    memcpy(p, part, (size_t)n * 4);
}
#endif

/* One loop for each function: whole vectors, then the rest in a vector of its own, so that a number's place is no matter. */
#define MEST_APPLY(with, NAME, value, gradient)                       \
    static void value_##NAME(float *x, long n, float alpha, float beta) { \
        (void)alpha, (void)beta;                                      \
        long i = 0;                                                   \
        for (; i + REALS <= n; i += REALS) {                          \
            const real u = take(x + i);                               \
            put(x + i, value);                                        \
        }                                                             \
        if (i == n) return;                                           \
        const real u = take_part(x + i, n - i);                       \
        put_part(x + i, value, n - i);                                \
    }                                                                 \
    static void gradient_##NAME(float *out, const float *x, long n, float alpha, float beta) { \
        (void)alpha, (void)beta;                                      \
        long i = 0;                                                   \
        for (; i + REALS <= n; i += REALS) {                          \
            const real u = take(x + i), g = take(out + i);            \
            put(out + i, gradient);                                   \
        }                                                             \
        if (i == n) return;                                           \
        const real u = take_part(x + i, n - i), g = take_part(out + i, n - i); \
        put_part(out + i, gradient, n - i);                           \
    }
MEST_FUNCTIONS(MEST_APPLY, )
#undef MEST_APPLY

/* x[0..n) = e^x. */
static void exponentials(float *x, long n) {
    long i = 0;
    for (; i + REALS <= n; i += REALS) put(x + i, exponential(take(x + i)));
    if (i < n) put_part(x + i, exponential(take_part(x + i, n - i)), n - i);
}

/* x[0..n) = the function of x; out[0..n), which holds gradients of its values, = those of its arguments x. */
static void apply_function(float *x, long n, int act, float alpha, float beta) {
    switch (act) {
#define APPLY(with, NAME, value, gradient) case MEST_ACT_##NAME: value_##NAME(x, n, alpha, beta); break;
        MEST_FUNCTIONS(APPLY, )
#undef APPLY
    }
}

static void apply_gradient(float *out, const float *x, long n, int act, float alpha, float beta) {
    switch (act) {
#define APPLY(with, NAME, value, gradient) case MEST_ACT_##NAME: gradient_##NAME(out, x, n, alpha, beta); break;
        MEST_FUNCTIONS(APPLY, )
#undef APPLY
    }
}

#endif

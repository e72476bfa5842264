/* The native engine's program: what Python fills in and C runs. Plain C, no Python inside.
 *
 * A stored tensor is float32 in the layout [group][channel][row][column][sample]: the micro-batch is cut into `groups`
 * groups of `samples` samples. All pointers lie in one arena or in arrays that outlive the program.
 */
#ifndef MEST_H
#define MEST_H

#include <stdint.h>

#define MEST_ABI 1
#define MEST_API __attribute__((visibility("default")))

enum { MEST_ACT_NONE = 0, MEST_ACT_RELU = 1, MEST_ACT_RELU6 = 2 };
enum { MEST_DENSE = 0, MEST_CSR = 1, MEST_BLOCK = 2 };

/* How a stored tensor is read: act((stored - mean) * scale + shift), or act-free as stored where mean is NULL. */
typedef struct {
    const float *data;
    const float *mean, *scale, *shift;
    int32_t act;
    int32_t channels, height, width;
} MestView;

/* The gradient of a value, read as the gradient of the stored tensor behind it:
 * scale * (g * mask) + slope * (stored - mean) + offset. Without `stored` it is read as it is. */
typedef struct {
    const float *data;
    const float *stored;
    const float *mean, *scale, *shift;
    const float *slope, *offset;
    int32_t act;
    int32_t channels, height, width;
} MestGrad;

/* Batch norm of one layer: parameters, statistics, and what the backward pass reads. */
typedef struct {
    const float *gamma, *beta;
    float *running_mean, *running_var;
    float *mean, *rstd, *scale;  /* of this pass, per channel */
    float *slope, *offset;       /* of the backward pass */
    float *gamma_grad, *beta_grad;
    double *partials;            /* [threads][channels][4] */
    float epsilon, momentum;
    int32_t channels;
    int32_t frozen;              /* 1: statistics are the running ones */
} MestNorm;

/* A convolution (linear: 1x1) and how its work is cut. See ops/conv_geometry.h for the panel's layout. */
typedef struct {
    const float *values;
    float *grads;
    const uint32_t *starts;      /* csr: rows + 1, block: block rows + 1 */
    const void *columns;         /* uint16 or uint32 */
    const uint32_t *t_starts;    /* stride parities x input channels + 1 */
    const void *t_columns;
    const uint32_t *t_places;    /* index of an entry's first value */
    const int32_t *channel_list; /* the input channels that the layer reads, or NULL for all */
    const float *bias;
    float *bias_grad;
    int64_t entries;             /* non-zeros, or blocks */
    int32_t format, block_height, index_bytes;
    int32_t rows, in_channels, groups;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int32_t in_h, in_w, out_h, out_w;
    int32_t tile_rows, tiles, parts;
    int32_t plane_w, x_rows, d_rows;
} MestConv;

typedef struct {
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left, pad_bottom, pad_right;
    int32_t out_h, out_w, count_include_pad, unused;
} MestPool;

/* One trained tensor for the update. */
typedef struct {
    float *values;
    const float *grads;
    float *first, *second;       /* momentum, or Adam's two moments */
    int64_t count;
} MestParam;

typedef struct {
    int32_t kind;                /* 0 SGD, 1 AdamW */
    int32_t nesterov;
    double beta1, beta2;
    float momentum, weight_decay, epsilon;
    int32_t count;
    const MestParam *params;
} MestUpdate;

enum {
    MEST_OP_INPUT = 0,
    MEST_OP_CONV,
    MEST_OP_CONV_GRAD,
    MEST_OP_NORM_SUMS,
    MEST_OP_NORM_FINISH,
    MEST_OP_NORM_GRAD_SUMS,
    MEST_OP_NORM_GRAD_FINISH,
    MEST_OP_ADD,
    MEST_OP_COPY,
    MEST_OP_PUSH_GRAD,
    MEST_OP_MAX_POOL,
    MEST_OP_MAX_POOL_GRAD,
    MEST_OP_AVG_POOL,
    MEST_OP_AVG_POOL_GRAD,
    MEST_OP_SELECT,
    MEST_OP_SELECT_GRAD,
    MEST_OP_LOSS,
    MEST_OP_ZERO,
    MEST_OP_UPDATE,
    MEST_OP_OUTPUT,
    MEST_OP_COUNT
};

/* One step of the planned list. Fields an operator does not use are zero. */
typedef struct {
    int32_t op;
    int32_t act;                 /* applied to what is stored */
    int32_t accumulate;          /* add to `out` instead of writing it */
    int32_t input_grad;          /* CONV_GRAD: `out` is wanted */
    int32_t weight_grad;         /* CONV_GRAD: the weight's gradient is wanted */
    int32_t classes;
    float smoothing;
    int32_t unused;
    MestView a, b;
    MestGrad g;
    MestGrad sums;               /* CONV_GRAD, PUSH_GRAD: `out` seen as a gradient; also add its batch norm's sums */
    float *out;
    int64_t out_count;           /* ZERO: floats */
    const MestConv *conv;
    const MestNorm *norm;        /* CONV: add statistics of the output; NORM_*: the layer */
    const MestNorm *sums_norm;
    const MestPool *pool;
    const int32_t *channel_list;
    const MestUpdate *update;
    float *scratch;              /* threads x scratch_floats */
    int64_t scratch_floats;
    float *partial_grads;        /* threads x conv values (+ rows for the bias) */
} MestStep;

typedef struct {
    const MestStep *steps;
    int32_t count;
    int32_t groups, samples;     /* of the micro-batch */
    int32_t in_channels, in_h, in_w;
} MestProgram;

/* One call: steps [begin, start) once, [start, body) for every micro-batch, [body, end) once. */
typedef struct {
    const float *images;         /* (n, channels, height, width) */
    const int64_t *labels;       /* (n,) or NULL */
    float *logits;               /* (n, classes) or NULL */
    int64_t batch;               /* samples that the mean loss is taken over */
    int32_t micro_batches;
    int32_t begin, start, body, end;
    float learning_rate;
    int32_t update_count;        /* updates before this one, for Adam's bias correction */
    double loss;                 /* out: summed over samples, added to */
    int64_t correct;             /* out: added to */
    double *seconds;             /* out: per step, added to, or NULL */
} MestCall;

typedef struct MestThreads MestThreads;

MEST_API int mest_abi(void);
/* Size of the structs above in their order, so that a caller can check its own idea of them. */
MEST_API int mest_struct_bytes(int which);
/* Writes the names of the instruction sets this machine can run, best first, separated by spaces. */
MEST_API int mest_instruction_sets(char *names, int bytes);
/* NULL where threads cannot be started or the instruction set is not usable here; "" is the best one. */
MEST_API void *mest_open(int threads, const char *instruction_set);
MEST_API void mest_close(void *engine);
MEST_API const char *mest_isa_name(void *engine);
/* 0, or the number of the first step whose sizes or indices are wrong, plus one. */
MEST_API int mest_check(const MestProgram *program, int threads);
MEST_API int mest_run(void *engine, const MestProgram *program, MestCall *call);

#endif

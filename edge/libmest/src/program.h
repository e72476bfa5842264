/* Written by python -m edge.libmest.header from edge/libmest/program.py; change that. */
#ifndef MEST_PROGRAM_H
#define MEST_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#define MEST_DIGEST "7754c26fc5d51480"

enum {
    MEST_SEGMENT_ARENA, MEST_SEGMENT_HERE, MEST_SEGMENT_TENSORS, MEST_SEGMENT_LISTS, MEST_SEGMENTS
};

enum {
    MEST_ACT_NONE, MEST_ACT_RELU, MEST_ACT_RELU6, MEST_ACT_HARD_SWISH, MEST_ACT_SIGMOID, MEST_ACT_HARD_SIGMOID,
    MEST_ACT_SILU, MEST_ACT_TANH, MEST_ACT_GELU, MEST_ACT_GELU_TANH, MEST_ACT_LEAKY_RELU, MEST_ACT_ELU,
    MEST_ACT_SOFTPLUS, MEST_ACT_CLIP, MEST_ACT_MISH, MEST_ACT_CELU, MEST_ACT_EXP, MEST_ACT_SQRT, MEST_ACTS
};

enum {
    MEST_DENSE, MEST_CSR, MEST_BLOCK
};

enum {
    MEST_FORM_CSR, MEST_FORM_BLOCK, MEST_FORM_PATTERN, MEST_FORM_CHANNEL, MEST_FORMS
};

enum {
    MEST_MUTATION_DONE, MEST_MUTATION_NOT_FINITE, MEST_MUTATION_NO_ROOM, MEST_MUTATION_DAMAGED
};

enum {
    MEST_KIND_ADD, MEST_KIND_SUB, MEST_KIND_MUL, MEST_KIND_DIV, MEST_KIND_PRELU, MEST_KINDS
};

enum {
    MEST_LEFT, MEST_RIGHT, MEST_NEITHER
};

enum {
    MEST_SAVED_FLOAT32, MEST_SAVED_BFLOAT16, MEST_SAVED_INT8, MEST_SAVED_TYPES
};

enum {
    MEST_OP_INPUT, MEST_OP_CONV, MEST_OP_CONV_GRAD, MEST_OP_NORM_SUMS, MEST_OP_NORM_FINISH, MEST_OP_NORM_GRAD_SUMS,
    MEST_OP_NORM_GRAD_FINISH, MEST_OP_SAMPLE_NORM, MEST_OP_SAMPLE_NORM_GRAD, MEST_OP_ADD, MEST_OP_COPY,
    MEST_OP_PUSH_GRAD, MEST_OP_ARITHMETIC, MEST_OP_ARITHMETIC_GRAD, MEST_OP_STORED_GRAD, MEST_OP_MAX_POOL,
    MEST_OP_MAX_POOL_GRAD, MEST_OP_AVG_POOL, MEST_OP_AVG_POOL_GRAD, MEST_OP_SELECT, MEST_OP_SELECT_GRAD, MEST_OP_CONCAT,
    MEST_OP_CONCAT_GRAD, MEST_OP_LOSS, MEST_OP_LOSS_MARKS, MEST_OP_LOSS_VALUES, MEST_OP_LOSS_PIXELS, MEST_OP_ZERO,
    MEST_OP_UPDATE, MEST_OP_OUTPUT, MEST_OP_ATTENTION, MEST_OP_ATTENTION_GRAD, MEST_OP_PREPEND, MEST_OP_PREPEND_GRAD,
    MEST_OP_POSITIONS, MEST_OP_POSITIONS_GRAD, MEST_OP_SELECT_POSITIONS, MEST_OP_SELECT_POSITIONS_GRAD, MEST_OP_NARROW,
    MEST_OP_WIDEN, MEST_OP_RESAMPLE, MEST_OP_RESAMPLE_GRAD, MEST_OP_CONV_TRANSPOSE, MEST_OP_CONV_TRANSPOSE_GRAD,
    MEST_OP_MATMUL, MEST_OP_MATMUL_GRAD, MEST_OP_SOFTMAX, MEST_OP_SOFTMAX_GRAD, MEST_OP_TRANSPOSE,
    MEST_OP_TRANSPOSE_GRAD, MEST_OP_COUNT
};

enum {
    MEST_STATISTICS = 3,
    MEST_SLOPES = 2,
    MEST_SUMS = 4,
    MEST_CHUNK_FLOATS = 128,
    MEST_BANDS = 8,
    MEST_SLACK_FLOATS = 64,
    MEST_SHARED_FLOATS = 48,
    MEST_FUSED_ACTS = 4,
    MEST_QUERIES = 8,
    MEST_SAVED_GROUP = 64,
    MEST_MUTATION_UNIT_BYTES = 9,
    MEST_MUTATION_ROW_BYTES = 16,
    MEST_WEIGHT_PARTS = 12,
    MEST_WEIGHT_ARRAYS = 4,
    MEST_PATTERNS = 8,
    MEST_PATTERN_CELLS = 4,
};

/* Whether a step reads stored tensors in any of MEST_SAVED_...; all others find float32. */
static inline int mest_reads_saved(int32_t op) {
    switch (op) {
    case MEST_OP_CONV:
    case MEST_OP_CONV_GRAD:
    case MEST_OP_NORM_GRAD_SUMS:
    case MEST_OP_SAMPLE_NORM:
    case MEST_OP_SAMPLE_NORM_GRAD:
    case MEST_OP_ADD:
    case MEST_OP_COPY:
    case MEST_OP_PUSH_GRAD:
    case MEST_OP_ARITHMETIC:
    case MEST_OP_ARITHMETIC_GRAD:
    case MEST_OP_STORED_GRAD:
    case MEST_OP_MAX_POOL:
    case MEST_OP_MAX_POOL_GRAD:
    case MEST_OP_AVG_POOL:
    case MEST_OP_AVG_POOL_GRAD:
    case MEST_OP_SELECT:
    case MEST_OP_SELECT_GRAD:
    case MEST_OP_CONCAT:
    case MEST_OP_CONCAT_GRAD:
    case MEST_OP_PREPEND:
    case MEST_OP_POSITIONS:
    case MEST_OP_NARROW:
    case MEST_OP_WIDEN:
        return 1;
    }
    return 0;
}

/* A piece of memory. */
typedef struct {
    int64_t offset;                /* from where the segment begins, or an address */
    int64_t nbytes;
    int32_t segment;
    int32_t writable;              /* 0: lists that steps only read */
    int32_t storage;               /* of a tensor kept for the backward pass; 0 for all else */
    int32_t unused;
} MestOperand;

/* How a stored tensor is read: act((stored - mean) * scale + shift), or act(stored) where mean is NULL. */
typedef struct {
    int32_t data, mean, scale, shift;
    int32_t act, channels, height, width;
    float alpha, beta;             /* what the activation is made with */
    int32_t storage;               /* of data: MEST_SAVED_... */
    int32_t origin;
} MestPlannedView;
typedef struct {
    const float *data, *mean, *scale, *shift;
    int32_t act, channels, height, width;
    float alpha, beta;             /* what the activation is made with */
    int32_t storage;               /* of data: MEST_SAVED_... */
    const float *origin;           /* what was taken off each channel before it was narrowed, or NULL */
} MestView;

/* The gradient of a value, read as the gradient of the stored tensor behind it: scale * (g * mask) + slope * (stored -
 * mean) + offset. Without `stored` it is read as it is. */
typedef struct {
    int32_t data, stored, mean, scale, shift, slope, offset;
    int32_t act, channels, height, width;
    float alpha, beta;
    int32_t storage;               /* of stored */
    int32_t origin;
} MestPlannedGrad;
typedef struct {
    const float *data, *stored, *mean, *scale, *shift, *slope, *offset;
    int32_t act, channels, height, width;
    float alpha, beta;
    int32_t storage;               /* of stored */
    const float *origin;
} MestGrad;

/* Batch norm of one layer: parameters, statistics, and what the backward pass reads. */
typedef struct {
    int32_t gamma, beta;
    int32_t running_mean, running_var;
    int32_t mean, rstd, scale;
    int32_t slope, offset;
    int32_t gamma_grad, beta_grad;
    int32_t partials;
    float epsilon, momentum;
    int32_t channels;
    int32_t frozen;                /* 1: statistics are the running ones */
} MestPlannedNorm;
typedef struct {
    const float *gamma, *beta;
    float *running_mean, *running_var;
    float *mean, *rstd, *scale;    /* of this pass, per channel */
    float *slope, *offset;         /* of the backward pass */
    float *gamma_grad, *beta_grad;
    double *partials;              /* [threads][channels][MEST_SUMS] */
    float epsilon, momentum;
    int32_t channels;
    int32_t frozen;                /* 1: statistics are the running ones */
} MestNorm;

/* A convolution (linear: 1x1) and how its work is cut. See operators/conv_geometry.h for the panel's layout. A
 * transposed convolution is stated as the one that it mirrors: that reads what the layer writes. */
typedef struct {
    int32_t values;
    int32_t grads;
    int32_t starts;
    int32_t columns;
    int32_t t_starts;
    int32_t t_columns;
    int32_t t_places;
    int32_t channel_list;
    int32_t bias;
    int32_t bias_grad;
    int64_t entries;               /* non-zeros, or blocks */
    int32_t format, block_height, index_bytes;
    int32_t rows, in_channels, groups;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int32_t in_h, in_w, out_h, out_w;
    int32_t tile_rows, tiles, parts;
    int32_t plane_w, x_rows, d_rows;
} MestPlannedConv;
typedef struct {
    const float *values;
    float *grads;
    const uint32_t *starts;        /* csr: rows + 1, block: block rows + 1 */
    const void *columns;           /* uint16 or uint32 */
    const uint32_t *t_starts;      /* stride parities x input channels + 1 */
    const void *t_columns;
    const uint32_t *t_places;      /* index of an entry's first value */
    const int32_t *channel_list;   /* the input channels that the layer reads, or NULL for all */
    const float *bias;
    float *bias_grad;
    int64_t entries;               /* non-zeros, or blocks */
    int32_t format, block_height, index_bytes;
    int32_t rows, in_channels, groups;
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    int32_t in_h, in_w, out_h, out_w;
    int32_t tile_rows, tiles, parts;
    int32_t plane_w, x_rows, d_rows;
} MestConv;

/* A pooling window. */
typedef struct {
    int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
    int32_t pad_top, pad_left, pad_bottom, pad_right;
    int32_t out_h, out_w, count_include_pad, unused;
} MestPool;

/* What is done with two operands, each broadcast to the result: the values `a` and `b` of the step, left and right, or
 * a stored tensor in the place of one. */
typedef struct {
    int32_t stored;
    int32_t stored_grad;
    int32_t kind;
    int32_t stored_side;           /* MEST_LEFT, MEST_RIGHT or MEST_NEITHER */
    int32_t features_last;
    int32_t side;                  /* ARITHMETIC_GRAD: whose gradient is wanted */
    int32_t channels, height, width; /* of the result */
    int32_t left_channels, left_height, left_width;
    int32_t right_channels, right_height, right_width;
} MestPlannedArithmetic;
typedef struct {
    const float *stored;           /* [channel][row][column], or [row][column][channel] with features_last */
    float *stored_grad;
    int32_t kind;
    int32_t stored_side;           /* MEST_LEFT, MEST_RIGHT or MEST_NEITHER */
    int32_t features_last;
    int32_t side;                  /* ARITHMETIC_GRAD: whose gradient is wanted */
    int32_t channels, height, width; /* of the result */
    int32_t left_channels, left_height, left_width;
    int32_t right_channels, right_height, right_width;
} MestArithmetic;

/* Normalisation within each sample: over groups of channels, or over all channels at each position. */
typedef struct {
    int32_t gamma, beta;
    int32_t gamma_grad, beta_grad;
    int32_t mean, rstd;
    float epsilon;
    int32_t groups;                /* of channels; 0: a set for each position */
    int32_t per_cell;              /* 1: gamma and beta have a number for each cell, not for each channel */
} MestPlannedSampleNorm;
typedef struct {
    const float *gamma, *beta;     /* or NULL */
    float *gamma_grad, *beta_grad;
    float *mean, *rstd;            /* of this pass: [group of samples][set][sample] */
    float epsilon;
    int32_t groups;                /* of channels; 0: a set for each position */
    int32_t per_cell;              /* 1: gamma and beta have a number for each cell, not for each channel */
} MestSampleNorm;

/* Attention: the channels of `a` are the queries of all heads, as many of the keys, and the values. Its positions are
 * windows of L that follow one another. */
typedef struct {
    int32_t bias;
    int32_t bias_grad;
    int32_t places;
    int32_t mask;
    int32_t heads;
    int32_t features;              /* of the values of all heads */
    float scale;
    int32_t windows;
    int32_t mask_windows;          /* 1 or as many as windows */
    int32_t bias_count;
} MestPlannedAttention;
typedef struct {
    const float *bias;             /* added to the scores, or NULL */
    float *bias_grad;
    const int32_t *places;         /* [head][L][L]: which number of the bias */
    const float *mask;             /* [mask_windows][L][L], or NULL */
    int32_t heads;
    int32_t features;              /* of the values of all heads */
    float scale;
    int32_t windows;
    int32_t mask_windows;          /* 1 or as many as windows */
    int32_t bias_count;
} MestAttention;

/* Stored tokens in front of all positions, or a stretch of positions. */
typedef struct {
    int32_t stored;
    int32_t stored_grad;
    int32_t first;                 /* POSITIONS: from which on */
    int32_t count;                 /* of stored tokens, or of positions */
} MestPlannedTokens;
typedef struct {
    const float *stored;           /* PREPEND: [token][channel] */
    float *stored_grad;
    int32_t first;                 /* POSITIONS: from which on */
    int32_t count;                 /* of stored tokens, or of positions */
} MestTokens;

/* How each row, and each column, of what is written is made: entries from its start on, one source and weight each. */
typedef struct {
    int32_t row_starts, row_sources, column_starts, column_sources;
    int32_t row_weights, column_weights;
    int32_t row_entries, column_entries;
    int32_t height, width;         /* of what is written */
} MestPlannedResample;
typedef struct {
    const int32_t *row_starts, *row_sources, *column_starts, *column_sources;
    const float *row_weights, *column_weights;
    int32_t row_entries, column_entries;
    int32_t height, width;         /* of what is written */
} MestResample;

/* Products of matrices, one a channel: rows x inner times inner x columns. */
typedef struct {
    int32_t matrices, rows, inner, columns;
    int32_t first_turned, second_turned; /* stored as its transpose */
    int32_t gradient_first;        /* MATMUL_GRAD: the gradient is the first matrix, not the second */
    int32_t unused;
} MestProduct;

/* Numbers [outer][first][second][inner] that are written as [outer][second][first][inner]. */
typedef struct {
    int32_t outer, first, second, inner;
} MestExchange;

/* One trained tensor for the update. */
typedef struct {
    int32_t values;
    int32_t grads;
    int32_t first, second;
    int64_t count;
} MestPlannedParam;
typedef struct {
    float *values;
    const float *grads;
    float *first, *second;         /* momentum, or Adam's two moments */
    int64_t count;
} MestParam;

/* The optimizer of all params of the program. */
typedef struct {
    int32_t kind;                  /* 0 SGD, 1 AdamW */
    int32_t nesterov;
    double beta1, beta2;
    float momentum, weight_decay, epsilon;
    int32_t unused;
} MestUpdate;

/* One step of the planned list. Fields an operator does not use are zero. */
typedef struct {
    int32_t op;
    int32_t act;                   /* applied to what is stored; one of the fused ones */
    int32_t accumulate;            /* add to `out` instead of writing it */
    int32_t input_grad;            /* CONV*_GRAD: `out` is wanted */
    int32_t weight_grad;           /* CONV*_GRAD: the weight's gradient is wanted */
    int32_t classes;
    int32_t ignored;               /* LOSS_PIXELS: what a pixel without a class is marked by */
    float smoothing;
    int32_t first_channel, part_channels; /* CONCAT, CONCAT_GRAD: where a part lies in the whole */
    MestPlannedView a, b;          /* NARROW: b is `out` as it will be read */
    MestPlannedGrad g;
    MestPlannedGrad sums;          /* CONV*_GRAD, PUSH_GRAD, ARITHMETIC_GRAD: `out` as a gradient; add its norm's sums */
    int32_t out;
    int32_t conv;
    int32_t norm;                  /* CONV*, ADD, ARITHMETIC: add statistics of the output; NORM_*: the layer */
    int32_t sums_norm;
    int32_t pool;
    int32_t arithmetic;
    int32_t update;
    int32_t samplenorm;
    int32_t attention;
    int32_t tokens;
    int32_t resample;
    int32_t product;
    int32_t exchange;
    int32_t channel_list;
    int32_t scratch;
    int32_t partial_grads;
    int64_t scratch_floats;
    int64_t out_count;             /* ZERO: floats */
} MestPlannedStep;
typedef struct {
    int32_t op;
    int32_t act;                   /* applied to what is stored; one of the fused ones */
    int32_t accumulate;            /* add to `out` instead of writing it */
    int32_t input_grad;            /* CONV*_GRAD: `out` is wanted */
    int32_t weight_grad;           /* CONV*_GRAD: the weight's gradient is wanted */
    int32_t classes;
    int32_t ignored;               /* LOSS_PIXELS: what a pixel without a class is marked by */
    float smoothing;
    int32_t first_channel, part_channels; /* CONCAT, CONCAT_GRAD: where a part lies in the whole */
    MestView a, b;                 /* NARROW: b is `out` as it will be read */
    MestGrad g;
    MestGrad sums;                 /* CONV*_GRAD, PUSH_GRAD, ARITHMETIC_GRAD: `out` as a gradient; add its norm's sums */
    float *out;
    const MestConv *conv;
    const MestNorm *norm;          /* CONV*, ADD, ARITHMETIC: add statistics of the output; NORM_*: the layer */
    const MestNorm *sums_norm;
    const MestPool *pool;
    const MestArithmetic *arithmetic;
    const MestUpdate *update;
    const MestSampleNorm *samplenorm;
    const MestAttention *attention;
    const MestTokens *tokens;
    const MestResample *resample;
    const MestProduct *product;
    const MestExchange *exchange;
    const int32_t *channel_list;   /* SELECT: channels; SELECT_POSITIONS: positions */
    float *scratch;                /* threads x scratch_floats */
    float *partial_grads;          /* threads x conv values (+ rows for the bias) */
    int64_t scratch_floats;
    int64_t out_count;             /* ZERO: floats */
} MestStep;

/* The planned list for one size of micro-batch, with its tables. */
typedef struct {
    void *arena;
    int64_t arena_bytes;
    void *tensors;                 /* of a compiled plan, else NULL */
    int64_t tensors_bytes;
    void *lists;                   /* of a compiled plan, else NULL */
    int64_t lists_bytes;
    const MestPlannedStep *steps;
    const MestOperand *operands;
    const MestPlannedConv *convs;
    const MestPlannedNorm *norms;
    const MestPool *pools;
    const MestPlannedArithmetic *arithmetics;
    const MestUpdate *updates;
    const MestPlannedSampleNorm *samplenorms;
    const MestPlannedAttention *attentions;
    const MestPlannedTokens *tokenss;
    const MestPlannedResample *resamples;
    const MestProduct *products;
    const MestExchange *exchanges;
    const MestPlannedParam *params;
    int32_t count;                 /* of steps */
    int32_t operand_count, conv_count, norm_count, pool_count, arithmetic_count, update_count, samplenorm_count, param_count;
    int32_t attention_count, tokens_count, resample_count, product_count, exchange_count;
    int32_t groups, samples;       /* of the micro-batch */
    int32_t in_channels, in_h, in_w;
} MestProgram;

/* One call: steps [begin, start) once, [start, body) for every micro-batch, [body, end) once. */
typedef struct {
    const float *images;           /* (n, channels, height, width) */
    const int64_t *labels;         /* (n,) or NULL */
    const uint8_t *marks;          /* (n, ...) or NULL: 0 or 1 for each answer, or a class for each pixel */
    const float *values;           /* (n, ...) or NULL: what each answer should be */
    float *logits;                 /* (n, classes) or NULL */
    int64_t targets;               /* numbers of `marks` or `values` for each sample */
    int64_t batch;                 /* terms that the mean loss is taken over: samples, answers or pixels */
    int32_t micro_batches;
    int32_t begin, start, body, end;
    float learning_rate;
    int32_t update_count;          /* updates before this one, for Adam's bias correction */
    double loss;                   /* out: summed over those terms, added to */
    int64_t correct;               /* out: added to */
    double *seconds;               /* out: per step, added to, or NULL */
} MestCall;

/* A weight in compressed form with room for its densest phase: what a mutation changes in place. Parts that it lacks
 * are NULL; what the kernels' lists say stands in Conv. */
typedef struct {
    float *values, *gradient, *first, *second;
    uint32_t *starts;
    void *columns;
    uint32_t *t_starts;
    void *t_columns;
    uint32_t *t_places;
    void *kernels;                 /* of a pattern: its input channels, row by row */
    uint8_t *patterns;
    int32_t *channels;
    int64_t count, capacity;       /* of values: in use, and room for */
    int32_t form, index_bytes;
    int32_t block_height;          /* 1 where there are no blocks */
    int32_t rows, in_channels, groups, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
} MestWeight;

/* One mutation of a weight, and what came of it. */
typedef struct {
    int64_t left, grown;           /* units after pruning, and after growing */
    int64_t seed;
    void *scratch;
    int64_t scratch_bytes;
    int64_t removed, added;        /* out: weights */
    float gradient_weight;         /* of the gradient in a score */
    int32_t unused;
} MestMutation;

/* Where an operand lies; NULL for number 0. Numbers, places and sizes were checked before. */
static inline void *mest_operand(const MestProgram *p, int32_t number) {
    if (!number) return NULL;
    const MestOperand *o = p->operands + number - 1;
    switch (o->segment) {
    case MEST_SEGMENT_ARENA: return (char *)p->arena + o->offset;
    case MEST_SEGMENT_TENSORS: return (char *)p->tensors + o->offset;
    case MEST_SEGMENT_LISTS: return (char *)p->lists + o->offset;
    default: return (void *)(intptr_t)o->offset;
    }
}

static inline MestView mest_view(const MestProgram *p, const MestPlannedView *s) {
    MestView r = {0};
    r.data = mest_operand(p, s->data);
    r.mean = mest_operand(p, s->mean);
    r.scale = mest_operand(p, s->scale);
    r.shift = mest_operand(p, s->shift);
    r.act = s->act;
    r.channels = s->channels;
    r.height = s->height;
    r.width = s->width;
    r.alpha = s->alpha;
    r.beta = s->beta;
    r.storage = s->storage;
    r.origin = mest_operand(p, s->origin);
    return r;
}

static inline MestGrad mest_grad(const MestProgram *p, const MestPlannedGrad *s) {
    MestGrad r = {0};
    r.data = mest_operand(p, s->data);
    r.stored = mest_operand(p, s->stored);
    r.mean = mest_operand(p, s->mean);
    r.scale = mest_operand(p, s->scale);
    r.shift = mest_operand(p, s->shift);
    r.slope = mest_operand(p, s->slope);
    r.offset = mest_operand(p, s->offset);
    r.act = s->act;
    r.channels = s->channels;
    r.height = s->height;
    r.width = s->width;
    r.alpha = s->alpha;
    r.beta = s->beta;
    r.storage = s->storage;
    r.origin = mest_operand(p, s->origin);
    return r;
}

static inline MestNorm mest_norm(const MestProgram *p, const MestPlannedNorm *s) {
    MestNorm r = {0};
    r.gamma = mest_operand(p, s->gamma);
    r.beta = mest_operand(p, s->beta);
    r.running_mean = mest_operand(p, s->running_mean);
    r.running_var = mest_operand(p, s->running_var);
    r.mean = mest_operand(p, s->mean);
    r.rstd = mest_operand(p, s->rstd);
    r.scale = mest_operand(p, s->scale);
    r.slope = mest_operand(p, s->slope);
    r.offset = mest_operand(p, s->offset);
    r.gamma_grad = mest_operand(p, s->gamma_grad);
    r.beta_grad = mest_operand(p, s->beta_grad);
    r.partials = mest_operand(p, s->partials);
    r.epsilon = s->epsilon;
    r.momentum = s->momentum;
    r.channels = s->channels;
    r.frozen = s->frozen;
    return r;
}

static inline MestConv mest_conv(const MestProgram *p, const MestPlannedConv *s) {
    MestConv r = {0};
    r.values = mest_operand(p, s->values);
    r.grads = mest_operand(p, s->grads);
    r.starts = mest_operand(p, s->starts);
    r.columns = mest_operand(p, s->columns);
    r.t_starts = mest_operand(p, s->t_starts);
    r.t_columns = mest_operand(p, s->t_columns);
    r.t_places = mest_operand(p, s->t_places);
    r.channel_list = mest_operand(p, s->channel_list);
    r.bias = mest_operand(p, s->bias);
    r.bias_grad = mest_operand(p, s->bias_grad);
    r.entries = s->entries;
    r.format = s->format;
    r.block_height = s->block_height;
    r.index_bytes = s->index_bytes;
    r.rows = s->rows;
    r.in_channels = s->in_channels;
    r.groups = s->groups;
    r.kernel_h = s->kernel_h;
    r.kernel_w = s->kernel_w;
    r.stride_h = s->stride_h;
    r.stride_w = s->stride_w;
    r.dilation_h = s->dilation_h;
    r.dilation_w = s->dilation_w;
    r.pad_top = s->pad_top;
    r.pad_left = s->pad_left;
    r.in_h = s->in_h;
    r.in_w = s->in_w;
    r.out_h = s->out_h;
    r.out_w = s->out_w;
    r.tile_rows = s->tile_rows;
    r.tiles = s->tiles;
    r.parts = s->parts;
    r.plane_w = s->plane_w;
    r.x_rows = s->x_rows;
    r.d_rows = s->d_rows;
    return r;
}

static inline MestArithmetic mest_arithmetic(const MestProgram *p, const MestPlannedArithmetic *s) {
    MestArithmetic r = {0};
    r.stored = mest_operand(p, s->stored);
    r.stored_grad = mest_operand(p, s->stored_grad);
    r.kind = s->kind;
    r.stored_side = s->stored_side;
    r.features_last = s->features_last;
    r.side = s->side;
    r.channels = s->channels;
    r.height = s->height;
    r.width = s->width;
    r.left_channels = s->left_channels;
    r.left_height = s->left_height;
    r.left_width = s->left_width;
    r.right_channels = s->right_channels;
    r.right_height = s->right_height;
    r.right_width = s->right_width;
    return r;
}

static inline MestSampleNorm mest_samplenorm(const MestProgram *p, const MestPlannedSampleNorm *s) {
    MestSampleNorm r = {0};
    r.gamma = mest_operand(p, s->gamma);
    r.beta = mest_operand(p, s->beta);
    r.gamma_grad = mest_operand(p, s->gamma_grad);
    r.beta_grad = mest_operand(p, s->beta_grad);
    r.mean = mest_operand(p, s->mean);
    r.rstd = mest_operand(p, s->rstd);
    r.epsilon = s->epsilon;
    r.groups = s->groups;
    r.per_cell = s->per_cell;
    return r;
}

static inline MestAttention mest_attention(const MestProgram *p, const MestPlannedAttention *s) {
    MestAttention r = {0};
    r.bias = mest_operand(p, s->bias);
    r.bias_grad = mest_operand(p, s->bias_grad);
    r.places = mest_operand(p, s->places);
    r.mask = mest_operand(p, s->mask);
    r.heads = s->heads;
    r.features = s->features;
    r.scale = s->scale;
    r.windows = s->windows;
    r.mask_windows = s->mask_windows;
    r.bias_count = s->bias_count;
    return r;
}

static inline MestTokens mest_tokens(const MestProgram *p, const MestPlannedTokens *s) {
    MestTokens r = {0};
    r.stored = mest_operand(p, s->stored);
    r.stored_grad = mest_operand(p, s->stored_grad);
    r.first = s->first;
    r.count = s->count;
    return r;
}

static inline MestResample mest_resample(const MestProgram *p, const MestPlannedResample *s) {
    MestResample r = {0};
    r.row_starts = mest_operand(p, s->row_starts);
    r.row_sources = mest_operand(p, s->row_sources);
    r.column_starts = mest_operand(p, s->column_starts);
    r.column_sources = mest_operand(p, s->column_sources);
    r.row_weights = mest_operand(p, s->row_weights);
    r.column_weights = mest_operand(p, s->column_weights);
    r.row_entries = s->row_entries;
    r.column_entries = s->column_entries;
    r.height = s->height;
    r.width = s->width;
    return r;
}

static inline MestParam mest_param(const MestProgram *p, const MestPlannedParam *s) {
    MestParam r = {0};
    r.values = mest_operand(p, s->values);
    r.grads = mest_operand(p, s->grads);
    r.first = mest_operand(p, s->first);
    r.second = mest_operand(p, s->second);
    r.count = s->count;
    return r;
}

static inline MestStep mest_step(const MestProgram *p, const MestPlannedStep *s) {
    MestStep r = {0};
    r.op = s->op;
    r.act = s->act;
    r.accumulate = s->accumulate;
    r.input_grad = s->input_grad;
    r.weight_grad = s->weight_grad;
    r.classes = s->classes;
    r.ignored = s->ignored;
    r.smoothing = s->smoothing;
    r.first_channel = s->first_channel;
    r.part_channels = s->part_channels;
    r.a = mest_view(p, &s->a);
    r.b = mest_view(p, &s->b);
    r.g = mest_grad(p, &s->g);
    r.sums = mest_grad(p, &s->sums);
    r.out = mest_operand(p, s->out);
    r.channel_list = mest_operand(p, s->channel_list);
    r.scratch = mest_operand(p, s->scratch);
    r.partial_grads = mest_operand(p, s->partial_grads);
    r.scratch_floats = s->scratch_floats;
    r.out_count = s->out_count;
    return r;
}

/* Whether a number is one of `count`, or none; the same of all that a row names, and of all rows. */
static inline int mest_listed(int32_t number, int32_t count) { return number >= 0 && number <= count; }

static inline int mest_view_named(const MestProgram *p, const MestPlannedView *s) {
    return mest_listed(s->data, p->operand_count) &&
           mest_listed(s->mean, p->operand_count) &&
           mest_listed(s->scale, p->operand_count) &&
           mest_listed(s->shift, p->operand_count) &&
           mest_listed(s->origin, p->operand_count);
}

static inline int mest_grad_named(const MestProgram *p, const MestPlannedGrad *s) {
    return mest_listed(s->data, p->operand_count) &&
           mest_listed(s->stored, p->operand_count) &&
           mest_listed(s->mean, p->operand_count) &&
           mest_listed(s->scale, p->operand_count) &&
           mest_listed(s->shift, p->operand_count) &&
           mest_listed(s->slope, p->operand_count) &&
           mest_listed(s->offset, p->operand_count) &&
           mest_listed(s->origin, p->operand_count);
}

static inline int mest_norm_named(const MestProgram *p, const MestPlannedNorm *s) {
    return mest_listed(s->gamma, p->operand_count) &&
           mest_listed(s->beta, p->operand_count) &&
           mest_listed(s->running_mean, p->operand_count) &&
           mest_listed(s->running_var, p->operand_count) &&
           mest_listed(s->mean, p->operand_count) &&
           mest_listed(s->rstd, p->operand_count) &&
           mest_listed(s->scale, p->operand_count) &&
           mest_listed(s->slope, p->operand_count) &&
           mest_listed(s->offset, p->operand_count) &&
           mest_listed(s->gamma_grad, p->operand_count) &&
           mest_listed(s->beta_grad, p->operand_count) &&
           mest_listed(s->partials, p->operand_count);
}

static inline int mest_conv_named(const MestProgram *p, const MestPlannedConv *s) {
    return mest_listed(s->values, p->operand_count) &&
           mest_listed(s->grads, p->operand_count) &&
           mest_listed(s->starts, p->operand_count) &&
           mest_listed(s->columns, p->operand_count) &&
           mest_listed(s->t_starts, p->operand_count) &&
           mest_listed(s->t_columns, p->operand_count) &&
           mest_listed(s->t_places, p->operand_count) &&
           mest_listed(s->channel_list, p->operand_count) &&
           mest_listed(s->bias, p->operand_count) &&
           mest_listed(s->bias_grad, p->operand_count);
}

static inline int mest_arithmetic_named(const MestProgram *p, const MestPlannedArithmetic *s) {
    return mest_listed(s->stored, p->operand_count) &&
           mest_listed(s->stored_grad, p->operand_count);
}

static inline int mest_samplenorm_named(const MestProgram *p, const MestPlannedSampleNorm *s) {
    return mest_listed(s->gamma, p->operand_count) &&
           mest_listed(s->beta, p->operand_count) &&
           mest_listed(s->gamma_grad, p->operand_count) &&
           mest_listed(s->beta_grad, p->operand_count) &&
           mest_listed(s->mean, p->operand_count) &&
           mest_listed(s->rstd, p->operand_count);
}

static inline int mest_attention_named(const MestProgram *p, const MestPlannedAttention *s) {
    return mest_listed(s->bias, p->operand_count) &&
           mest_listed(s->bias_grad, p->operand_count) &&
           mest_listed(s->places, p->operand_count) &&
           mest_listed(s->mask, p->operand_count);
}

static inline int mest_tokens_named(const MestProgram *p, const MestPlannedTokens *s) {
    return mest_listed(s->stored, p->operand_count) &&
           mest_listed(s->stored_grad, p->operand_count);
}

static inline int mest_resample_named(const MestProgram *p, const MestPlannedResample *s) {
    return mest_listed(s->row_starts, p->operand_count) &&
           mest_listed(s->row_sources, p->operand_count) &&
           mest_listed(s->column_starts, p->operand_count) &&
           mest_listed(s->column_sources, p->operand_count) &&
           mest_listed(s->row_weights, p->operand_count) &&
           mest_listed(s->column_weights, p->operand_count);
}

static inline int mest_param_named(const MestProgram *p, const MestPlannedParam *s) {
    return mest_listed(s->values, p->operand_count) &&
           mest_listed(s->grads, p->operand_count) &&
           mest_listed(s->first, p->operand_count) &&
           mest_listed(s->second, p->operand_count);
}

static inline int mest_step_named(const MestProgram *p, const MestPlannedStep *s) {
    return mest_view_named(p, &s->a) &&
           mest_view_named(p, &s->b) &&
           mest_grad_named(p, &s->g) &&
           mest_grad_named(p, &s->sums) &&
           mest_listed(s->out, p->operand_count) &&
           mest_listed(s->conv, p->conv_count) &&
           mest_listed(s->norm, p->norm_count) &&
           mest_listed(s->sums_norm, p->norm_count) &&
           mest_listed(s->pool, p->pool_count) &&
           mest_listed(s->arithmetic, p->arithmetic_count) &&
           mest_listed(s->update, p->update_count) &&
           mest_listed(s->samplenorm, p->samplenorm_count) &&
           mest_listed(s->attention, p->attention_count) &&
           mest_listed(s->tokens, p->tokens_count) &&
           mest_listed(s->resample, p->resample_count) &&
           mest_listed(s->product, p->product_count) &&
           mest_listed(s->exchange, p->exchange_count) &&
           mest_listed(s->channel_list, p->operand_count) &&
           mest_listed(s->scratch, p->operand_count) &&
           mest_listed(s->partial_grads, p->operand_count);
}

static inline int mest_tables_named(const MestProgram *p) {
    if (p->conv_count < 0) return 0;
    for (int32_t i = 0; i < p->conv_count; i++)
        if (!mest_conv_named(p, p->convs + i)) return 0;
    if (p->norm_count < 0) return 0;
    for (int32_t i = 0; i < p->norm_count; i++)
        if (!mest_norm_named(p, p->norms + i)) return 0;
    if (p->pool_count < 0) return 0;
    if (p->arithmetic_count < 0) return 0;
    for (int32_t i = 0; i < p->arithmetic_count; i++)
        if (!mest_arithmetic_named(p, p->arithmetics + i)) return 0;
    if (p->update_count < 0) return 0;
    if (p->samplenorm_count < 0) return 0;
    for (int32_t i = 0; i < p->samplenorm_count; i++)
        if (!mest_samplenorm_named(p, p->samplenorms + i)) return 0;
    if (p->attention_count < 0) return 0;
    for (int32_t i = 0; i < p->attention_count; i++)
        if (!mest_attention_named(p, p->attentions + i)) return 0;
    if (p->tokens_count < 0) return 0;
    for (int32_t i = 0; i < p->tokens_count; i++)
        if (!mest_tokens_named(p, p->tokenss + i)) return 0;
    if (p->resample_count < 0) return 0;
    for (int32_t i = 0; i < p->resample_count; i++)
        if (!mest_resample_named(p, p->resamples + i)) return 0;
    if (p->product_count < 0) return 0;
    if (p->exchange_count < 0) return 0;
    if (p->param_count < 0) return 0;
    for (int32_t i = 0; i < p->param_count; i++)
        if (!mest_param_named(p, p->params + i)) return 0;
    return 1;
}

/* A step of a checked program with pointers instead of numbers, made anew by every thread. */
typedef struct {
    MestStep step;
    MestConv conv;
    MestNorm norm;
    MestNorm sums_norm;
    MestArithmetic arithmetic;
    MestSampleNorm samplenorm;
    MestAttention attention;
    MestTokens tokens;
    MestResample resample;
} MestPlacedStep;

static inline const MestStep *mest_place_step(const MestProgram *p, const MestPlannedStep *s, MestPlacedStep *placed) {
    placed->step = mest_step(p, s);
    if (s->conv) {
        placed->conv = mest_conv(p, p->convs + s->conv - 1);
        placed->step.conv = &placed->conv;
    }
    if (s->norm) {
        placed->norm = mest_norm(p, p->norms + s->norm - 1);
        placed->step.norm = &placed->norm;
    }
    if (s->sums_norm) {
        placed->sums_norm = mest_norm(p, p->norms + s->sums_norm - 1);
        placed->step.sums_norm = &placed->sums_norm;
    }
    if (s->pool) placed->step.pool = p->pools + s->pool - 1;
    if (s->arithmetic) {
        placed->arithmetic = mest_arithmetic(p, p->arithmetics + s->arithmetic - 1);
        placed->step.arithmetic = &placed->arithmetic;
    }
    if (s->update) placed->step.update = p->updates + s->update - 1;
    if (s->samplenorm) {
        placed->samplenorm = mest_samplenorm(p, p->samplenorms + s->samplenorm - 1);
        placed->step.samplenorm = &placed->samplenorm;
    }
    if (s->attention) {
        placed->attention = mest_attention(p, p->attentions + s->attention - 1);
        placed->step.attention = &placed->attention;
    }
    if (s->tokens) {
        placed->tokens = mest_tokens(p, p->tokenss + s->tokens - 1);
        placed->step.tokens = &placed->tokens;
    }
    if (s->resample) {
        placed->resample = mest_resample(p, p->resamples + s->resample - 1);
        placed->step.resample = &placed->resample;
    }
    if (s->product) placed->step.product = p->products + s->product - 1;
    if (s->exchange) placed->step.exchange = p->exchanges + s->exchange - 1;
    return &placed->step;
}

_Static_assert(offsetof(MestOperand, offset) == 0, "MestOperand");
_Static_assert(offsetof(MestOperand, nbytes) == 8, "MestOperand");
_Static_assert(offsetof(MestOperand, segment) == 16, "MestOperand");
_Static_assert(offsetof(MestOperand, writable) == 20, "MestOperand");
_Static_assert(offsetof(MestOperand, storage) == 24, "MestOperand");
_Static_assert(offsetof(MestOperand, unused) == 28, "MestOperand");
_Static_assert(sizeof(MestOperand) == 32, "MestOperand");
_Static_assert(offsetof(MestPlannedView, data) == 0, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, mean) == 4, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, scale) == 8, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, shift) == 12, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, act) == 16, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, channels) == 20, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, height) == 24, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, width) == 28, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, alpha) == 32, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, beta) == 36, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, storage) == 40, "MestPlannedView");
_Static_assert(offsetof(MestPlannedView, origin) == 44, "MestPlannedView");
_Static_assert(sizeof(MestPlannedView) == 48, "MestPlannedView");
_Static_assert(offsetof(MestPlannedGrad, data) == 0, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, stored) == 4, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, mean) == 8, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, scale) == 12, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, shift) == 16, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, slope) == 20, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, offset) == 24, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, act) == 28, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, channels) == 32, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, height) == 36, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, width) == 40, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, alpha) == 44, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, beta) == 48, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, storage) == 52, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedGrad, origin) == 56, "MestPlannedGrad");
_Static_assert(sizeof(MestPlannedGrad) == 60, "MestPlannedGrad");
_Static_assert(offsetof(MestPlannedNorm, gamma) == 0, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, beta) == 4, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, running_mean) == 8, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, running_var) == 12, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, mean) == 16, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, rstd) == 20, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, scale) == 24, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, slope) == 28, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, offset) == 32, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, gamma_grad) == 36, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, beta_grad) == 40, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, partials) == 44, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, epsilon) == 48, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, momentum) == 52, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, channels) == 56, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedNorm, frozen) == 60, "MestPlannedNorm");
_Static_assert(sizeof(MestPlannedNorm) == 64, "MestPlannedNorm");
_Static_assert(offsetof(MestPlannedConv, values) == 0, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, grads) == 4, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, starts) == 8, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, columns) == 12, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, t_starts) == 16, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, t_columns) == 20, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, t_places) == 24, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, channel_list) == 28, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, bias) == 32, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, bias_grad) == 36, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, entries) == 40, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, format) == 48, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, block_height) == 52, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, index_bytes) == 56, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, rows) == 60, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, in_channels) == 64, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, groups) == 68, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, kernel_h) == 72, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, kernel_w) == 76, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, stride_h) == 80, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, stride_w) == 84, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, dilation_h) == 88, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, dilation_w) == 92, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, pad_top) == 96, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, pad_left) == 100, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, in_h) == 104, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, in_w) == 108, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, out_h) == 112, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, out_w) == 116, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, tile_rows) == 120, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, tiles) == 124, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, parts) == 128, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, plane_w) == 132, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, x_rows) == 136, "MestPlannedConv");
_Static_assert(offsetof(MestPlannedConv, d_rows) == 140, "MestPlannedConv");
_Static_assert(sizeof(MestPlannedConv) == 144, "MestPlannedConv");
_Static_assert(offsetof(MestPool, kernel_h) == 0, "MestPool");
_Static_assert(offsetof(MestPool, kernel_w) == 4, "MestPool");
_Static_assert(offsetof(MestPool, stride_h) == 8, "MestPool");
_Static_assert(offsetof(MestPool, stride_w) == 12, "MestPool");
_Static_assert(offsetof(MestPool, dilation_h) == 16, "MestPool");
_Static_assert(offsetof(MestPool, dilation_w) == 20, "MestPool");
_Static_assert(offsetof(MestPool, pad_top) == 24, "MestPool");
_Static_assert(offsetof(MestPool, pad_left) == 28, "MestPool");
_Static_assert(offsetof(MestPool, pad_bottom) == 32, "MestPool");
_Static_assert(offsetof(MestPool, pad_right) == 36, "MestPool");
_Static_assert(offsetof(MestPool, out_h) == 40, "MestPool");
_Static_assert(offsetof(MestPool, out_w) == 44, "MestPool");
_Static_assert(offsetof(MestPool, count_include_pad) == 48, "MestPool");
_Static_assert(offsetof(MestPool, unused) == 52, "MestPool");
_Static_assert(sizeof(MestPool) == 56, "MestPool");
_Static_assert(offsetof(MestPlannedArithmetic, stored) == 0, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, stored_grad) == 4, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, kind) == 8, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, stored_side) == 12, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, features_last) == 16, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, side) == 20, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, channels) == 24, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, height) == 28, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, width) == 32, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, left_channels) == 36, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, left_height) == 40, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, left_width) == 44, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, right_channels) == 48, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, right_height) == 52, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedArithmetic, right_width) == 56, "MestPlannedArithmetic");
_Static_assert(sizeof(MestPlannedArithmetic) == 60, "MestPlannedArithmetic");
_Static_assert(offsetof(MestPlannedSampleNorm, gamma) == 0, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, beta) == 4, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, gamma_grad) == 8, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, beta_grad) == 12, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, mean) == 16, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, rstd) == 20, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, epsilon) == 24, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, groups) == 28, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedSampleNorm, per_cell) == 32, "MestPlannedSampleNorm");
_Static_assert(sizeof(MestPlannedSampleNorm) == 36, "MestPlannedSampleNorm");
_Static_assert(offsetof(MestPlannedAttention, bias) == 0, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, bias_grad) == 4, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, places) == 8, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, mask) == 12, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, heads) == 16, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, features) == 20, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, scale) == 24, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, windows) == 28, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, mask_windows) == 32, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedAttention, bias_count) == 36, "MestPlannedAttention");
_Static_assert(sizeof(MestPlannedAttention) == 40, "MestPlannedAttention");
_Static_assert(offsetof(MestPlannedTokens, stored) == 0, "MestPlannedTokens");
_Static_assert(offsetof(MestPlannedTokens, stored_grad) == 4, "MestPlannedTokens");
_Static_assert(offsetof(MestPlannedTokens, first) == 8, "MestPlannedTokens");
_Static_assert(offsetof(MestPlannedTokens, count) == 12, "MestPlannedTokens");
_Static_assert(sizeof(MestPlannedTokens) == 16, "MestPlannedTokens");
_Static_assert(offsetof(MestPlannedResample, row_starts) == 0, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, row_sources) == 4, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, column_starts) == 8, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, column_sources) == 12, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, row_weights) == 16, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, column_weights) == 20, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, row_entries) == 24, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, column_entries) == 28, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, height) == 32, "MestPlannedResample");
_Static_assert(offsetof(MestPlannedResample, width) == 36, "MestPlannedResample");
_Static_assert(sizeof(MestPlannedResample) == 40, "MestPlannedResample");
_Static_assert(offsetof(MestProduct, matrices) == 0, "MestProduct");
_Static_assert(offsetof(MestProduct, rows) == 4, "MestProduct");
_Static_assert(offsetof(MestProduct, inner) == 8, "MestProduct");
_Static_assert(offsetof(MestProduct, columns) == 12, "MestProduct");
_Static_assert(offsetof(MestProduct, first_turned) == 16, "MestProduct");
_Static_assert(offsetof(MestProduct, second_turned) == 20, "MestProduct");
_Static_assert(offsetof(MestProduct, gradient_first) == 24, "MestProduct");
_Static_assert(offsetof(MestProduct, unused) == 28, "MestProduct");
_Static_assert(sizeof(MestProduct) == 32, "MestProduct");
_Static_assert(offsetof(MestExchange, outer) == 0, "MestExchange");
_Static_assert(offsetof(MestExchange, first) == 4, "MestExchange");
_Static_assert(offsetof(MestExchange, second) == 8, "MestExchange");
_Static_assert(offsetof(MestExchange, inner) == 12, "MestExchange");
_Static_assert(sizeof(MestExchange) == 16, "MestExchange");
_Static_assert(offsetof(MestPlannedParam, values) == 0, "MestPlannedParam");
_Static_assert(offsetof(MestPlannedParam, grads) == 4, "MestPlannedParam");
_Static_assert(offsetof(MestPlannedParam, first) == 8, "MestPlannedParam");
_Static_assert(offsetof(MestPlannedParam, second) == 12, "MestPlannedParam");
_Static_assert(offsetof(MestPlannedParam, count) == 16, "MestPlannedParam");
_Static_assert(sizeof(MestPlannedParam) == 24, "MestPlannedParam");
_Static_assert(offsetof(MestUpdate, kind) == 0, "MestUpdate");
_Static_assert(offsetof(MestUpdate, nesterov) == 4, "MestUpdate");
_Static_assert(offsetof(MestUpdate, beta1) == 8, "MestUpdate");
_Static_assert(offsetof(MestUpdate, beta2) == 16, "MestUpdate");
_Static_assert(offsetof(MestUpdate, momentum) == 24, "MestUpdate");
_Static_assert(offsetof(MestUpdate, weight_decay) == 28, "MestUpdate");
_Static_assert(offsetof(MestUpdate, epsilon) == 32, "MestUpdate");
_Static_assert(offsetof(MestUpdate, unused) == 36, "MestUpdate");
_Static_assert(sizeof(MestUpdate) == 40, "MestUpdate");
_Static_assert(offsetof(MestPlannedStep, op) == 0, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, act) == 4, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, accumulate) == 8, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, input_grad) == 12, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, weight_grad) == 16, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, classes) == 20, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, ignored) == 24, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, smoothing) == 28, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, first_channel) == 32, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, part_channels) == 36, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, a) == 40, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, b) == 88, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, g) == 136, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, sums) == 196, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, out) == 256, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, conv) == 260, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, norm) == 264, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, sums_norm) == 268, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, pool) == 272, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, arithmetic) == 276, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, update) == 280, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, samplenorm) == 284, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, attention) == 288, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, tokens) == 292, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, resample) == 296, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, product) == 300, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, exchange) == 304, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, channel_list) == 308, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, scratch) == 312, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, partial_grads) == 316, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, scratch_floats) == 320, "MestPlannedStep");
_Static_assert(offsetof(MestPlannedStep, out_count) == 328, "MestPlannedStep");
_Static_assert(sizeof(MestPlannedStep) == 336, "MestPlannedStep");

#if __SIZEOF_POINTER__ == 8
_Static_assert(offsetof(MestProgram, arena) == 0, "MestProgram");
_Static_assert(offsetof(MestProgram, arena_bytes) == 8, "MestProgram");
_Static_assert(offsetof(MestProgram, tensors) == 16, "MestProgram");
_Static_assert(offsetof(MestProgram, tensors_bytes) == 24, "MestProgram");
_Static_assert(offsetof(MestProgram, lists) == 32, "MestProgram");
_Static_assert(offsetof(MestProgram, lists_bytes) == 40, "MestProgram");
_Static_assert(offsetof(MestProgram, steps) == 48, "MestProgram");
_Static_assert(offsetof(MestProgram, operands) == 56, "MestProgram");
_Static_assert(offsetof(MestProgram, convs) == 64, "MestProgram");
_Static_assert(offsetof(MestProgram, norms) == 72, "MestProgram");
_Static_assert(offsetof(MestProgram, pools) == 80, "MestProgram");
_Static_assert(offsetof(MestProgram, arithmetics) == 88, "MestProgram");
_Static_assert(offsetof(MestProgram, updates) == 96, "MestProgram");
_Static_assert(offsetof(MestProgram, samplenorms) == 104, "MestProgram");
_Static_assert(offsetof(MestProgram, attentions) == 112, "MestProgram");
_Static_assert(offsetof(MestProgram, tokenss) == 120, "MestProgram");
_Static_assert(offsetof(MestProgram, resamples) == 128, "MestProgram");
_Static_assert(offsetof(MestProgram, products) == 136, "MestProgram");
_Static_assert(offsetof(MestProgram, exchanges) == 144, "MestProgram");
_Static_assert(offsetof(MestProgram, params) == 152, "MestProgram");
_Static_assert(offsetof(MestProgram, count) == 160, "MestProgram");
_Static_assert(offsetof(MestProgram, operand_count) == 164, "MestProgram");
_Static_assert(offsetof(MestProgram, conv_count) == 168, "MestProgram");
_Static_assert(offsetof(MestProgram, norm_count) == 172, "MestProgram");
_Static_assert(offsetof(MestProgram, pool_count) == 176, "MestProgram");
_Static_assert(offsetof(MestProgram, arithmetic_count) == 180, "MestProgram");
_Static_assert(offsetof(MestProgram, update_count) == 184, "MestProgram");
_Static_assert(offsetof(MestProgram, samplenorm_count) == 188, "MestProgram");
_Static_assert(offsetof(MestProgram, param_count) == 192, "MestProgram");
_Static_assert(offsetof(MestProgram, attention_count) == 196, "MestProgram");
_Static_assert(offsetof(MestProgram, tokens_count) == 200, "MestProgram");
_Static_assert(offsetof(MestProgram, resample_count) == 204, "MestProgram");
_Static_assert(offsetof(MestProgram, product_count) == 208, "MestProgram");
_Static_assert(offsetof(MestProgram, exchange_count) == 212, "MestProgram");
_Static_assert(offsetof(MestProgram, groups) == 216, "MestProgram");
_Static_assert(offsetof(MestProgram, samples) == 220, "MestProgram");
_Static_assert(offsetof(MestProgram, in_channels) == 224, "MestProgram");
_Static_assert(offsetof(MestProgram, in_h) == 228, "MestProgram");
_Static_assert(offsetof(MestProgram, in_w) == 232, "MestProgram");
_Static_assert(sizeof(MestProgram) == 240, "MestProgram");
_Static_assert(offsetof(MestCall, images) == 0, "MestCall");
_Static_assert(offsetof(MestCall, labels) == 8, "MestCall");
_Static_assert(offsetof(MestCall, marks) == 16, "MestCall");
_Static_assert(offsetof(MestCall, values) == 24, "MestCall");
_Static_assert(offsetof(MestCall, logits) == 32, "MestCall");
_Static_assert(offsetof(MestCall, targets) == 40, "MestCall");
_Static_assert(offsetof(MestCall, batch) == 48, "MestCall");
_Static_assert(offsetof(MestCall, micro_batches) == 56, "MestCall");
_Static_assert(offsetof(MestCall, begin) == 60, "MestCall");
_Static_assert(offsetof(MestCall, start) == 64, "MestCall");
_Static_assert(offsetof(MestCall, body) == 68, "MestCall");
_Static_assert(offsetof(MestCall, end) == 72, "MestCall");
_Static_assert(offsetof(MestCall, learning_rate) == 76, "MestCall");
_Static_assert(offsetof(MestCall, update_count) == 80, "MestCall");
_Static_assert(offsetof(MestCall, loss) == 88, "MestCall");
_Static_assert(offsetof(MestCall, correct) == 96, "MestCall");
_Static_assert(offsetof(MestCall, seconds) == 104, "MestCall");
_Static_assert(sizeof(MestCall) == 112, "MestCall");
_Static_assert(offsetof(MestWeight, values) == 0, "MestWeight");
_Static_assert(offsetof(MestWeight, gradient) == 8, "MestWeight");
_Static_assert(offsetof(MestWeight, first) == 16, "MestWeight");
_Static_assert(offsetof(MestWeight, second) == 24, "MestWeight");
_Static_assert(offsetof(MestWeight, starts) == 32, "MestWeight");
_Static_assert(offsetof(MestWeight, columns) == 40, "MestWeight");
_Static_assert(offsetof(MestWeight, t_starts) == 48, "MestWeight");
_Static_assert(offsetof(MestWeight, t_columns) == 56, "MestWeight");
_Static_assert(offsetof(MestWeight, t_places) == 64, "MestWeight");
_Static_assert(offsetof(MestWeight, kernels) == 72, "MestWeight");
_Static_assert(offsetof(MestWeight, patterns) == 80, "MestWeight");
_Static_assert(offsetof(MestWeight, channels) == 88, "MestWeight");
_Static_assert(offsetof(MestWeight, count) == 96, "MestWeight");
_Static_assert(offsetof(MestWeight, capacity) == 104, "MestWeight");
_Static_assert(offsetof(MestWeight, form) == 112, "MestWeight");
_Static_assert(offsetof(MestWeight, index_bytes) == 116, "MestWeight");
_Static_assert(offsetof(MestWeight, block_height) == 120, "MestWeight");
_Static_assert(offsetof(MestWeight, rows) == 124, "MestWeight");
_Static_assert(offsetof(MestWeight, in_channels) == 128, "MestWeight");
_Static_assert(offsetof(MestWeight, groups) == 132, "MestWeight");
_Static_assert(offsetof(MestWeight, kernel_h) == 136, "MestWeight");
_Static_assert(offsetof(MestWeight, kernel_w) == 140, "MestWeight");
_Static_assert(offsetof(MestWeight, stride_h) == 144, "MestWeight");
_Static_assert(offsetof(MestWeight, stride_w) == 148, "MestWeight");
_Static_assert(offsetof(MestWeight, dilation_h) == 152, "MestWeight");
_Static_assert(offsetof(MestWeight, dilation_w) == 156, "MestWeight");
_Static_assert(sizeof(MestWeight) == 160, "MestWeight");
_Static_assert(offsetof(MestMutation, left) == 0, "MestMutation");
_Static_assert(offsetof(MestMutation, grown) == 8, "MestMutation");
_Static_assert(offsetof(MestMutation, seed) == 16, "MestMutation");
_Static_assert(offsetof(MestMutation, scratch) == 24, "MestMutation");
_Static_assert(offsetof(MestMutation, scratch_bytes) == 32, "MestMutation");
_Static_assert(offsetof(MestMutation, removed) == 40, "MestMutation");
_Static_assert(offsetof(MestMutation, added) == 48, "MestMutation");
_Static_assert(offsetof(MestMutation, gradient_weight) == 56, "MestMutation");
_Static_assert(offsetof(MestMutation, unused) == 60, "MestMutation");
_Static_assert(sizeof(MestMutation) == 64, "MestMutation");
#endif

#endif

/* Written by python -m edge.libmest.header from edge/libmest/plan_file.py; change that. */
#ifndef MEST_PLAN_FILE_H
#define MEST_PLAN_FILE_H

#include "../program.h"

#define MEST_FILES_DIGEST 1021584626543751302LL
#define MEST_PLAN_MAGIC 7953757647158863213LL
#define MEST_DATA_MAGIC 7022344803055789421LL
#define MEST_STATE_MAGIC 3561913489737082221LL

enum {
    MEST_SCHEDULE_CONSTANT, MEST_SCHEDULE_LINEAR, MEST_SCHEDULE_COSINE, MEST_SCHEDULE_STEP, MEST_SCHEDULES
};

enum {
    MEST_AUGMENT_NONE, MEST_AUGMENT_FLIP, MEST_AUGMENT_CROP, MEST_AUGMENT_CROP_FLIP, MEST_AUGMENTS
};

enum {
    MEST_NUMBERS_UINT8, MEST_NUMBERS_INT16, MEST_NUMBERS_FLOAT32, MEST_NUMBERS
};

enum {
    MEST_INTERPOLATION_NEAREST, MEST_INTERPOLATION_BILINEAR, MEST_INTERPOLATION_BICUBIC, MEST_INTERPOLATIONS
};

enum {
    MEST_FILE_VERSION = 1,
    MEST_MOST_CLASSES = 65536,
    MEST_MOST_BLOCK_BITS = 44,
    MEST_MOST_INPUT = 268435456,
    MEST_MOST_BATCH = 1048576,
    MEST_MOST_THREADS = 1024,
    MEST_MOST_PHASES = 1024,
    MEST_MOST_MILESTONES = 1024,
};

/* The beginning of a compiled plan. */
typedef struct {
    int64_t magic, version;
    int64_t declared;              /* MEST_FILES_DIGEST of whoever wrote it */
    int64_t nbytes;                /* of the file */
    int64_t sha256_a, sha256_b, sha256_c, sha256_d; /* of the file, these four zero */
    int64_t facts_at, facts_bytes; /* JSON: all that is for programs on the workstation */
    int64_t chosen_at, chosen_bytes; /* JSON: the choices, as finetune prints them */
    int64_t record_at, record_bytes; /* JSON: what is planned, fields of a record without its braces */
    int64_t names_at, names_bytes; /* class names, each ended by a zero */
    int64_t normalise_at;          /* floats: means, then deviations, one each per channel */
    int64_t programs_at, program_count;
    int64_t tensors_at, tensors_stored, tensors_bytes; /* those behind the stored ones begin as zeros */
    int64_t lists_at, lists_bytes;
    int64_t mutated_bytes;         /* of the lists, the first: a count of values for each weight that mutates, and lists */
    int64_t weights_at, weight_count, phases_at, phase_count; /* of a mutation; 0: none mutates */
    int64_t units_at;              /* [phase][weight] */
    int64_t mutate_every;          /* steps */
    double gradient_weight;        /* of the gradient in a score */
    int64_t milestones_at, milestone_count; /* epochs, of schedule step; 0: the published ones, scaled to the run */
    double gamma;                  /* what step multiplies the rate by at each of them */
    int64_t arena_bytes, stack_bytes, planned_peak_bytes;
    int64_t picture_bytes;         /* for decoding one, the arena and what is behind it */
    int64_t budget_bytes;          /* 0: none */
    int64_t seed;
    double learning_rate, warmup, hold_out;
    int32_t epochs, schedule, save_every, augment;
    int32_t patience, drop_after;  /* epochs; 0: the run ends at its end, and no sample is dropped */
    double sparsity;
    int32_t batch_size, micro_batch, threads, classes;
    int32_t channels, height, width;
    int32_t images;                /* 1: samples are pixels on the scale 0 to 255 */
    int32_t resize_short;          /* of pictures: what their short side becomes; 0: nothing of the kind */
    int32_t resize_height, resize_width; /* or what they become; 0: nothing of the kind */
    int32_t crop_height, crop_width; /* then their centre; 0: all */
    int32_t interpolation;
} MestPlan;

/* A program in a compiled plan, for pieces of groups x samples: MestProgram with offsets for pointers, which count from
 * the beginning of the part of the file that holds its tables. */
typedef struct {
    int64_t part_at, part_bytes;
    int64_t arena;
    int64_t arena_bytes;
    int64_t tensors;               /* of a compiled plan, else NULL */
    int64_t tensors_bytes;
    int64_t lists;                 /* of a compiled plan, else NULL */
    int64_t lists_bytes;
    int64_t steps;
    int64_t operands;
    int64_t convs;
    int64_t norms;
    int64_t pools;
    int64_t arithmetics;
    int64_t updates;
    int64_t samplenorms;
    int64_t attentions;
    int64_t tokenss;
    int64_t resamples;
    int64_t products;
    int64_t exchanges;
    int64_t params;
    int32_t count;                 /* of steps */
    int32_t operand_count, conv_count, norm_count, pool_count, arithmetic_count, update_count, samplenorm_count, param_count;
    int32_t attention_count, tokens_count, resample_count, product_count, exchange_count;
    int32_t groups, samples;       /* of the micro-batch */
    int32_t in_channels, in_h, in_w;
    int32_t trains;                /* 0: it predicts */
    int32_t start, body;           /* of a training program: what is repeated for every piece */
} MestPlanProgram;

/* A weight that mutates: MestWeight with offsets for pointers, into the tensors and, from `starts` on, into the lists;
 * -1 for a part that it lacks. Its count stands in front of the lists. */
typedef struct {
    int64_t values, gradient, first, second;
    int64_t starts;
    int64_t columns;
    int64_t t_starts;
    int64_t t_columns;
    int64_t t_places;
    int64_t kernels;               /* of a pattern: its input channels, row by row */
    int64_t patterns;
    int64_t channels;
    int64_t count, capacity;       /* of values: in use, and room for */
    int32_t form, index_bytes;
    int32_t block_height;          /* 1 where there are no blocks */
    int32_t rows, in_channels, groups, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
} MestPlanWeight;

/* A phase of a run that mutates. */
typedef struct {
    double until;                  /* which share of the run is done */
    int32_t moves;                 /* 1: weights move whenever that is due; 0: once, to come to the target */
    int32_t at_target;             /* 1: the network is at its target after a mutation */
} MestPlanPhase;

/* What a mutation makes of a weight. */
typedef struct {
    int64_t left, grown;           /* units after pruning, and after growing */
} MestPlanUnits;

/* The beginning of a data file; records follow to its end, each a MestSample and the numbers, padded to 8 bytes. */
typedef struct {
    int64_t magic, version;
    int64_t record_bytes;
    int32_t channels, height, width;
    int32_t numbers;
    int32_t images, classes;
} MestData;

/* What stands before the numbers [channel][row][column] of a sample. */
typedef struct {
    int32_t label;
    int32_t test;                  /* 1: held out */
} MestSample;

/* The beginning of a state: where a run is. Marks of the samples follow, where some are dropped, the block of tensors,
 * and the lists that mutate. */
typedef struct {
    int64_t magic, version;
    int64_t declared;              /* MEST_FILES_DIGEST of whoever wrote it */
    int64_t nbytes;                /* of the file */
    int64_t sha256_a, sha256_b, sha256_c, sha256_d; /* of the file, these four zero */
    int64_t plan_a, plan_b, plan_c, plan_d; /* of the compiled plan */
    int64_t data_a, data_b, data_c, data_d; /* of labels and marks */
    int64_t samples, step, epoch_correct, epoch_samples, mutations;
    int64_t updates;               /* of the optimizer: fewer than steps where the run came back to its best epoch */
    double epoch_loss;             /* sum over the samples of the running epoch */
    double accuracy_before;        /* not a number where none was held out */
    double best_accuracy;          /* on what is held out, of the best epoch */
    int64_t seed;
    double learning_rate, warmup, hold_out;
    int32_t epochs, schedule, save_every, augment;
    int32_t patience, drop_after;  /* epochs; 0: the run ends at its end, and no sample is dropped */
    int32_t best_epoch, kept_epoch; /* 0: none; the latter of a run that came back to its weights */
    int32_t waited, stopped_early; /* epochs without a gain, and 1 where the run ended for them */
    int32_t epoch, batch, finished;
    int32_t off_target;            /* 1: denser than its target, in the midst of EM&S */
} MestState;

/* The table of `count` rows at an offset; NULL unless it lies within these bytes. */
static inline const void *mest_table(const char *part, int64_t nbytes, int64_t at, int64_t count, size_t row) {
    const int64_t size = (int64_t)row;
    if (at < 0 || at % 8 || at > nbytes || count < 0 || count > (nbytes - at) / size) return NULL;
    return part + at;
}

/* Whether all tables of a program lie within its part; then `p` names them, but no memory yet. */
static inline int mest_program_of(const char *part, const MestPlanProgram *s, MestProgram *p) {
    *p = (MestProgram){0};
    p->arena_bytes = s->arena_bytes;
    p->tensors_bytes = s->tensors_bytes;
    p->lists_bytes = s->lists_bytes;
    p->steps = mest_table(part, s->part_bytes, s->steps, s->count, sizeof *p->steps);
    if (!p->steps) return 0;
    p->operands = mest_table(part, s->part_bytes, s->operands, s->operand_count, sizeof *p->operands);
    if (!p->operands) return 0;
    p->convs = mest_table(part, s->part_bytes, s->convs, s->conv_count, sizeof *p->convs);
    if (!p->convs) return 0;
    p->norms = mest_table(part, s->part_bytes, s->norms, s->norm_count, sizeof *p->norms);
    if (!p->norms) return 0;
    p->pools = mest_table(part, s->part_bytes, s->pools, s->pool_count, sizeof *p->pools);
    if (!p->pools) return 0;
    p->arithmetics = mest_table(part, s->part_bytes, s->arithmetics, s->arithmetic_count, sizeof *p->arithmetics);
    if (!p->arithmetics) return 0;
    p->updates = mest_table(part, s->part_bytes, s->updates, s->update_count, sizeof *p->updates);
    if (!p->updates) return 0;
    p->samplenorms = mest_table(part, s->part_bytes, s->samplenorms, s->samplenorm_count, sizeof *p->samplenorms);
    if (!p->samplenorms) return 0;
    p->attentions = mest_table(part, s->part_bytes, s->attentions, s->attention_count, sizeof *p->attentions);
    if (!p->attentions) return 0;
    p->tokenss = mest_table(part, s->part_bytes, s->tokenss, s->tokens_count, sizeof *p->tokenss);
    if (!p->tokenss) return 0;
    p->resamples = mest_table(part, s->part_bytes, s->resamples, s->resample_count, sizeof *p->resamples);
    if (!p->resamples) return 0;
    p->products = mest_table(part, s->part_bytes, s->products, s->product_count, sizeof *p->products);
    if (!p->products) return 0;
    p->exchanges = mest_table(part, s->part_bytes, s->exchanges, s->exchange_count, sizeof *p->exchanges);
    if (!p->exchanges) return 0;
    p->params = mest_table(part, s->part_bytes, s->params, s->param_count, sizeof *p->params);
    if (!p->params) return 0;
    p->count = s->count;
    p->operand_count = s->operand_count;
    p->conv_count = s->conv_count;
    p->norm_count = s->norm_count;
    p->pool_count = s->pool_count;
    p->arithmetic_count = s->arithmetic_count;
    p->update_count = s->update_count;
    p->samplenorm_count = s->samplenorm_count;
    p->param_count = s->param_count;
    p->attention_count = s->attention_count;
    p->tokens_count = s->tokens_count;
    p->resample_count = s->resample_count;
    p->product_count = s->product_count;
    p->exchange_count = s->exchange_count;
    p->groups = s->groups;
    p->samples = s->samples;
    p->in_channels = s->in_channels;
    p->in_h = s->in_h;
    p->in_w = s->in_w;
    return 1;
}

_Static_assert(offsetof(MestPlan, magic) == 0, "MestPlan");
_Static_assert(offsetof(MestPlan, version) == 8, "MestPlan");
_Static_assert(offsetof(MestPlan, declared) == 16, "MestPlan");
_Static_assert(offsetof(MestPlan, nbytes) == 24, "MestPlan");
_Static_assert(offsetof(MestPlan, sha256_a) == 32, "MestPlan");
_Static_assert(offsetof(MestPlan, sha256_b) == 40, "MestPlan");
_Static_assert(offsetof(MestPlan, sha256_c) == 48, "MestPlan");
_Static_assert(offsetof(MestPlan, sha256_d) == 56, "MestPlan");
_Static_assert(offsetof(MestPlan, facts_at) == 64, "MestPlan");
_Static_assert(offsetof(MestPlan, facts_bytes) == 72, "MestPlan");
_Static_assert(offsetof(MestPlan, chosen_at) == 80, "MestPlan");
_Static_assert(offsetof(MestPlan, chosen_bytes) == 88, "MestPlan");
_Static_assert(offsetof(MestPlan, record_at) == 96, "MestPlan");
_Static_assert(offsetof(MestPlan, record_bytes) == 104, "MestPlan");
_Static_assert(offsetof(MestPlan, names_at) == 112, "MestPlan");
_Static_assert(offsetof(MestPlan, names_bytes) == 120, "MestPlan");
_Static_assert(offsetof(MestPlan, normalise_at) == 128, "MestPlan");
_Static_assert(offsetof(MestPlan, programs_at) == 136, "MestPlan");
_Static_assert(offsetof(MestPlan, program_count) == 144, "MestPlan");
_Static_assert(offsetof(MestPlan, tensors_at) == 152, "MestPlan");
_Static_assert(offsetof(MestPlan, tensors_stored) == 160, "MestPlan");
_Static_assert(offsetof(MestPlan, tensors_bytes) == 168, "MestPlan");
_Static_assert(offsetof(MestPlan, lists_at) == 176, "MestPlan");
_Static_assert(offsetof(MestPlan, lists_bytes) == 184, "MestPlan");
_Static_assert(offsetof(MestPlan, mutated_bytes) == 192, "MestPlan");
_Static_assert(offsetof(MestPlan, weights_at) == 200, "MestPlan");
_Static_assert(offsetof(MestPlan, weight_count) == 208, "MestPlan");
_Static_assert(offsetof(MestPlan, phases_at) == 216, "MestPlan");
_Static_assert(offsetof(MestPlan, phase_count) == 224, "MestPlan");
_Static_assert(offsetof(MestPlan, units_at) == 232, "MestPlan");
_Static_assert(offsetof(MestPlan, mutate_every) == 240, "MestPlan");
_Static_assert(offsetof(MestPlan, gradient_weight) == 248, "MestPlan");
_Static_assert(offsetof(MestPlan, milestones_at) == 256, "MestPlan");
_Static_assert(offsetof(MestPlan, milestone_count) == 264, "MestPlan");
_Static_assert(offsetof(MestPlan, gamma) == 272, "MestPlan");
_Static_assert(offsetof(MestPlan, arena_bytes) == 280, "MestPlan");
_Static_assert(offsetof(MestPlan, stack_bytes) == 288, "MestPlan");
_Static_assert(offsetof(MestPlan, planned_peak_bytes) == 296, "MestPlan");
_Static_assert(offsetof(MestPlan, picture_bytes) == 304, "MestPlan");
_Static_assert(offsetof(MestPlan, budget_bytes) == 312, "MestPlan");
_Static_assert(offsetof(MestPlan, seed) == 320, "MestPlan");
_Static_assert(offsetof(MestPlan, learning_rate) == 328, "MestPlan");
_Static_assert(offsetof(MestPlan, warmup) == 336, "MestPlan");
_Static_assert(offsetof(MestPlan, hold_out) == 344, "MestPlan");
_Static_assert(offsetof(MestPlan, epochs) == 352, "MestPlan");
_Static_assert(offsetof(MestPlan, schedule) == 356, "MestPlan");
_Static_assert(offsetof(MestPlan, save_every) == 360, "MestPlan");
_Static_assert(offsetof(MestPlan, augment) == 364, "MestPlan");
_Static_assert(offsetof(MestPlan, patience) == 368, "MestPlan");
_Static_assert(offsetof(MestPlan, drop_after) == 372, "MestPlan");
_Static_assert(offsetof(MestPlan, sparsity) == 376, "MestPlan");
_Static_assert(offsetof(MestPlan, batch_size) == 384, "MestPlan");
_Static_assert(offsetof(MestPlan, micro_batch) == 388, "MestPlan");
_Static_assert(offsetof(MestPlan, threads) == 392, "MestPlan");
_Static_assert(offsetof(MestPlan, classes) == 396, "MestPlan");
_Static_assert(offsetof(MestPlan, channels) == 400, "MestPlan");
_Static_assert(offsetof(MestPlan, height) == 404, "MestPlan");
_Static_assert(offsetof(MestPlan, width) == 408, "MestPlan");
_Static_assert(offsetof(MestPlan, images) == 412, "MestPlan");
_Static_assert(offsetof(MestPlan, resize_short) == 416, "MestPlan");
_Static_assert(offsetof(MestPlan, resize_height) == 420, "MestPlan");
_Static_assert(offsetof(MestPlan, resize_width) == 424, "MestPlan");
_Static_assert(offsetof(MestPlan, crop_height) == 428, "MestPlan");
_Static_assert(offsetof(MestPlan, crop_width) == 432, "MestPlan");
_Static_assert(offsetof(MestPlan, interpolation) == 436, "MestPlan");
_Static_assert(sizeof(MestPlan) == 440, "MestPlan");

_Static_assert(offsetof(MestPlanProgram, part_at) == 0, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, part_bytes) == 8, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, arena) == 16, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, arena_bytes) == 24, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, tensors) == 32, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, tensors_bytes) == 40, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, lists) == 48, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, lists_bytes) == 56, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, steps) == 64, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, operands) == 72, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, convs) == 80, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, norms) == 88, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, pools) == 96, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, arithmetics) == 104, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, updates) == 112, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, samplenorms) == 120, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, attentions) == 128, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, tokenss) == 136, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, resamples) == 144, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, products) == 152, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, exchanges) == 160, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, params) == 168, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, count) == 176, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, operand_count) == 180, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, conv_count) == 184, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, norm_count) == 188, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, pool_count) == 192, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, arithmetic_count) == 196, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, update_count) == 200, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, samplenorm_count) == 204, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, param_count) == 208, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, attention_count) == 212, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, tokens_count) == 216, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, resample_count) == 220, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, product_count) == 224, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, exchange_count) == 228, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, groups) == 232, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, samples) == 236, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, in_channels) == 240, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, in_h) == 244, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, in_w) == 248, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, trains) == 252, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, start) == 256, "MestPlanProgram");
_Static_assert(offsetof(MestPlanProgram, body) == 260, "MestPlanProgram");
_Static_assert(sizeof(MestPlanProgram) == 264, "MestPlanProgram");

_Static_assert(offsetof(MestPlanWeight, values) == 0, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, gradient) == 8, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, first) == 16, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, second) == 24, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, starts) == 32, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, columns) == 40, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, t_starts) == 48, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, t_columns) == 56, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, t_places) == 64, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, kernels) == 72, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, patterns) == 80, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, channels) == 88, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, count) == 96, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, capacity) == 104, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, form) == 112, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, index_bytes) == 116, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, block_height) == 120, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, rows) == 124, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, in_channels) == 128, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, groups) == 132, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, kernel_h) == 136, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, kernel_w) == 140, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, stride_h) == 144, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, stride_w) == 148, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, dilation_h) == 152, "MestPlanWeight");
_Static_assert(offsetof(MestPlanWeight, dilation_w) == 156, "MestPlanWeight");
_Static_assert(sizeof(MestPlanWeight) == 160, "MestPlanWeight");

_Static_assert(offsetof(MestPlanPhase, until) == 0, "MestPlanPhase");
_Static_assert(offsetof(MestPlanPhase, moves) == 8, "MestPlanPhase");
_Static_assert(offsetof(MestPlanPhase, at_target) == 12, "MestPlanPhase");
_Static_assert(sizeof(MestPlanPhase) == 16, "MestPlanPhase");

_Static_assert(offsetof(MestPlanUnits, left) == 0, "MestPlanUnits");
_Static_assert(offsetof(MestPlanUnits, grown) == 8, "MestPlanUnits");
_Static_assert(sizeof(MestPlanUnits) == 16, "MestPlanUnits");

_Static_assert(offsetof(MestData, magic) == 0, "MestData");
_Static_assert(offsetof(MestData, version) == 8, "MestData");
_Static_assert(offsetof(MestData, record_bytes) == 16, "MestData");
_Static_assert(offsetof(MestData, channels) == 24, "MestData");
_Static_assert(offsetof(MestData, height) == 28, "MestData");
_Static_assert(offsetof(MestData, width) == 32, "MestData");
_Static_assert(offsetof(MestData, numbers) == 36, "MestData");
_Static_assert(offsetof(MestData, images) == 40, "MestData");
_Static_assert(offsetof(MestData, classes) == 44, "MestData");
_Static_assert(sizeof(MestData) == 48, "MestData");

_Static_assert(offsetof(MestSample, label) == 0, "MestSample");
_Static_assert(offsetof(MestSample, test) == 4, "MestSample");
_Static_assert(sizeof(MestSample) == 8, "MestSample");

_Static_assert(offsetof(MestState, magic) == 0, "MestState");
_Static_assert(offsetof(MestState, version) == 8, "MestState");
_Static_assert(offsetof(MestState, declared) == 16, "MestState");
_Static_assert(offsetof(MestState, nbytes) == 24, "MestState");
_Static_assert(offsetof(MestState, sha256_a) == 32, "MestState");
_Static_assert(offsetof(MestState, sha256_b) == 40, "MestState");
_Static_assert(offsetof(MestState, sha256_c) == 48, "MestState");
_Static_assert(offsetof(MestState, sha256_d) == 56, "MestState");
_Static_assert(offsetof(MestState, plan_a) == 64, "MestState");
_Static_assert(offsetof(MestState, plan_b) == 72, "MestState");
_Static_assert(offsetof(MestState, plan_c) == 80, "MestState");
_Static_assert(offsetof(MestState, plan_d) == 88, "MestState");
_Static_assert(offsetof(MestState, data_a) == 96, "MestState");
_Static_assert(offsetof(MestState, data_b) == 104, "MestState");
_Static_assert(offsetof(MestState, data_c) == 112, "MestState");
_Static_assert(offsetof(MestState, data_d) == 120, "MestState");
_Static_assert(offsetof(MestState, samples) == 128, "MestState");
_Static_assert(offsetof(MestState, step) == 136, "MestState");
_Static_assert(offsetof(MestState, epoch_correct) == 144, "MestState");
_Static_assert(offsetof(MestState, epoch_samples) == 152, "MestState");
_Static_assert(offsetof(MestState, mutations) == 160, "MestState");
_Static_assert(offsetof(MestState, updates) == 168, "MestState");
_Static_assert(offsetof(MestState, epoch_loss) == 176, "MestState");
_Static_assert(offsetof(MestState, accuracy_before) == 184, "MestState");
_Static_assert(offsetof(MestState, best_accuracy) == 192, "MestState");
_Static_assert(offsetof(MestState, seed) == 200, "MestState");
_Static_assert(offsetof(MestState, learning_rate) == 208, "MestState");
_Static_assert(offsetof(MestState, warmup) == 216, "MestState");
_Static_assert(offsetof(MestState, hold_out) == 224, "MestState");
_Static_assert(offsetof(MestState, epochs) == 232, "MestState");
_Static_assert(offsetof(MestState, schedule) == 236, "MestState");
_Static_assert(offsetof(MestState, save_every) == 240, "MestState");
_Static_assert(offsetof(MestState, augment) == 244, "MestState");
_Static_assert(offsetof(MestState, patience) == 248, "MestState");
_Static_assert(offsetof(MestState, drop_after) == 252, "MestState");
_Static_assert(offsetof(MestState, best_epoch) == 256, "MestState");
_Static_assert(offsetof(MestState, kept_epoch) == 260, "MestState");
_Static_assert(offsetof(MestState, waited) == 264, "MestState");
_Static_assert(offsetof(MestState, stopped_early) == 268, "MestState");
_Static_assert(offsetof(MestState, epoch) == 272, "MestState");
_Static_assert(offsetof(MestState, batch) == 276, "MestState");
_Static_assert(offsetof(MestState, finished) == 280, "MestState");
_Static_assert(offsetof(MestState, off_target) == 284, "MestState");
_Static_assert(sizeof(MestState) == 288, "MestState");

#endif

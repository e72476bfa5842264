/* libmest: trains and runs a network from a compiled plan, inside an app. Plain C; docs/c-library.md walks through it.
 *
 * Functions give 0, or one of the codes below; then libmest_message says in one line what was wrong and what to do, and
 * nothing was changed unless the function says so. All memory is asked for in libmest_prepare; none afterwards. A model
 * may be used by one thread at a time. Samples are numbers [sample][channel][row][column] before normalisation: the
 * library applies the means and deviations of the plan, and brings pixels from 0-255 to the scale 0-1.
 *
 * Versions are semantic. A struct that begins with `bytes` may become longer at its end in a minor version: give its
 * size, as in LibmestFacts facts = {.bytes = sizeof facts}. What is left zero has its default.
 */
#ifndef LIBMEST_H
#define LIBMEST_H

#include <stddef.h>
#include <stdint.h>

#define LIBMEST_VERSION_MAJOR 1
#define LIBMEST_VERSION_MINOR 4
#define LIBMEST_VERSION_PATCH 0

#define LIBMEST_API __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

typedef struct LibmestModel LibmestModel;

enum {
    LIBMEST_OK = 0,
    LIBMEST_BAD_INPUT = 2,   /* what was given, or a loss that is no longer finite */
    LIBMEST_OVER_BUDGET = 3, /* the system has not the memory, or refuses it */
    LIBMEST_DAMAGED = 4      /* a file that is not what was written */
};
enum { LIBMEST_UINT8 = 0, LIBMEST_INT16 = 1, LIBMEST_FLOAT32 = 2 };               /* the numbers of samples */
enum { LIBMEST_FOR_PREDICTING = 0, LIBMEST_FOR_TRAINING = 1 };
enum { LIBMEST_AS_COMPILED = -1 };                                                  /* of a setting */
enum { LIBMEST_BEFORE = 1, LIBMEST_TRAINING = 2, LIBMEST_AFTER = 3, LIBMEST_FINISHED = 4 }; /* where a run is, */
enum { LIBMEST_JUDGING = 5 };   /* since 1.3: between two epochs of a plan with patience, over what is held out */

/* Bytes that are kept elsewhere: in memory, in a file, by a host. */
typedef struct {
    int (*read)(void *context, void *into, size_t count, int64_t offset); /* 0 where that is not to be had */
    void *context;
    int64_t nbytes; /* of the whole */
    const char *name; /* as messages name it; copied */
} LibmestSource;

/* What a plan holds. Texts live as long as the model. */
typedef struct {
    size_t bytes;
    int32_t channels, height, width; /* of a sample */
    int32_t images;                  /* 1: samples are pixels, of uint8 */
    int32_t classes;
    int32_t batch_size;              /* samples of an optimizer step */
    int32_t piece;                   /* samples that are computed at once */
    int32_t threads;
    double sparsity;                 /* share of the weights that are gone */
    int64_t planned_peak_bytes;      /* of the whole process of mest-run */
    int64_t budget_bytes;            /* 0: none */
    int64_t arena_bytes, tensors_bytes;
    int64_t state_bytes;             /* of what libmest_save writes; of a plan that drops samples, once its run was begun */
    const char *instruction_set;     /* what this processor computes with */
    int32_t epochs;                  /* these and the next: the run as compiled */
    double learning_rate;
    int64_t seed;
    int64_t picture_bytes;           /* since 1.4: what decoding a picture may take; 0: the plan takes numbers */
} LibmestFacts;

/* Samples in the caller's memory, which must stay there while they are in use. */
typedef struct {
    size_t bytes;
    const void *numbers;
    int32_t kind;          /* LIBMEST_UINT8 and the like */
    int32_t reserved;
    int64_t count;
    const int32_t *labels; /* NULL: none, for predictions */
    const uint8_t *test;   /* 1: held out; NULL: none is marked */
} LibmestSamples;

/* The settings of a run; what is LIBMEST_AS_COMPILED is taken from the plan, or from the state that is continued. */
typedef struct {
    size_t bytes;
    int32_t epochs, save_every; /* steps between two states */
    double learning_rate, hold_out;
    int32_t has_seed, reserved;
    int64_t seed;
} LibmestSettings;
#define LIBMEST_SETTINGS                                                                                                    \
    { sizeof(LibmestSettings), LIBMEST_AS_COMPILED, LIBMEST_AS_COMPILED, LIBMEST_AS_COMPILED, LIBMEST_AS_COMPILED, 0, 0, 0 }

/* Where a run is after a call of libmest_advance. */
typedef struct {
    size_t bytes;
    int32_t phase;                        /* LIBMEST_BEFORE: accuracy before training; _TRAINING, _AFTER, _FINISHED */
    int32_t epoch, epochs;                /* behind it, and in all */
    int32_t epoch_ended;                  /* 1: with this step */
    int32_t due;                          /* 1: a state should be saved now */
    int32_t stopped;                      /* 1: libmest_run ended because the caller said so */
    int64_t step;                         /* optimizer steps behind it */
    int64_t samples, correct;             /* of this step */
    double loss, learning_rate;           /* of this step: mean over its samples */
    double epoch_loss, epoch_accuracy;    /* of the running epoch, or of the one that ended */
    double accuracy_before, accuracy_after; /* on what is held out; not a number while unknown */
    int64_t trained, held_out;            /* samples of each part */
    double step_ms, read_ms;              /* of this step: computing, and reading samples */
    int64_t removed, grown;               /* since 1.2: weights that went and came with this step */
    int64_t mutations;                    /* since 1.2: of the run so far */
    double held_out_accuracy;             /* since 1.3, as all behind it: of the epoch that ended; not a number where none was asked for */
    int32_t gained;                       /* 1: it is the best epoch so far, and its state should be kept beside */
    int32_t best_epoch, kept_epoch;       /* 0: none; the latter of a run that came back to its weights */
    int32_t waited, stopped_early;        /* epochs without a gain, and 1 where the run ended for them */
    int32_t reserved;
} LibmestProgress;

/* Told after every batch; another answer than 0 stops the run, its state saved. */
typedef int (*LibmestCallback)(void *context, const LibmestProgress *progress);
/* Takes bytes of a state; 0 where it cannot. */
typedef int (*LibmestWrite)(void *context, const void *bytes, size_t count);

/* The version of the library that runs: 10000 major + 100 minor + patch. */
LIBMEST_API int32_t libmest_version(void);

/* Opens a compiled plan and looks at all of it; no memory is asked for but the handle. The model is there for its message
 * even where this fails, and has to be closed; NULL where there is no memory for a handle. The source must stay. */
LIBMEST_API int libmest_open(const LibmestSource *plan, LibmestModel **model);
LIBMEST_API int libmest_open_bytes(const void *plan, size_t nbytes, LibmestModel **model); /* the bytes must stay */
LIBMEST_API int libmest_open_path(const char *path, LibmestModel **model);
LIBMEST_API void libmest_close(LibmestModel *model); /* NULL is allowed */
/* The line about the last call that failed; empty where none did. */
LIBMEST_API const char *libmest_message(const LibmestModel *model);

LIBMEST_API int libmest_facts(const LibmestModel *model, LibmestFacts *facts);
/* All of it as JSON, as mest compile prints it: how many bytes that is, of which as many are written as there is room. */
LIBMEST_API int64_t libmest_facts_json(const LibmestModel *model, char *into, size_t room);
/* NULL unless the model is prepared and the number one of its classes. */
LIBMEST_API const char *libmest_class_name(const LibmestModel *model, int32_t number);

/* The samples that runs and evaluations are over, in place of any before: a data file, or samples of the caller. Before
 * libmest_prepare, room for them is part of what that asks for; after it they must fit into the room that there is. */
LIBMEST_API int libmest_use(LibmestModel *model, const LibmestSource *data);
LIBMEST_API int libmest_use_path(LibmestModel *model, const char *path);
LIBMEST_API int libmest_use_samples(LibmestModel *model, const LibmestSamples *samples);
/* How many are in use, how many of them are marked as test (0 before libmest_prepare), and whether the file ends within a
 * sample, which is left out. Each may be NULL. */
LIBMEST_API int libmest_used(const LibmestModel *model, int64_t *samples, int64_t *test, int *cut);

/* Adds samples with labels to the end of a data file, which is begun if there is none; `in_all`: how many it then holds, may be
 * NULL. Each is on the disk before the next; where power is lost, one that is not whole is left out by whoever reads. */
LIBMEST_API int libmest_collect_path(LibmestModel *model, const char *path, const LibmestSamples *samples, int64_t *in_all);

/* Asks for all memory, reads the weights and checks every step. `most_samples`: of what may come into use later. */
LIBMEST_API int libmest_prepare(LibmestModel *model, int purpose, int64_t most_samples);

/* Since 1.4. A JPEG or PNG file as a sample, [channel][row][column] of uint8: upright, resized and cropped as the artifact says.
 * It is decoded in the memory of a prepared model, which may be in the midst of a run; one that takes more is refused. Not in
 * the WebAssembly module, since browsers decode pictures. */
LIBMEST_API int libmest_read_picture(LibmestModel *model, const LibmestSource *picture, void *pixels);
LIBMEST_API int libmest_read_picture_path(LibmestModel *model, const char *path, void *pixels);

/* Scores of each class, which sum to 1, [sample][class]. */
LIBMEST_API int libmest_predict(LibmestModel *model, const LibmestSamples *samples, float *scores);
/* The same of samples in use, by their numbers from `first` on. */
LIBMEST_API int libmest_predict_used(LibmestModel *model, int64_t first, int64_t count, float *scores);
/* How many of the samples in use that are marked as test (of all, where none is) are classified correctly, and of how many. */
LIBMEST_API int libmest_evaluate(LibmestModel *model, int64_t *correct, int64_t *samples);

/* One optimizer step over 1 to batch_size samples with labels, as they are, outside of a run. `loss` (mean) and `correct` may
 * be NULL. Where the loss is not finite, no weight is changed. */
LIBMEST_API int libmest_train_step(LibmestModel *model, const LibmestSamples *samples, double learning_rate, double *loss,
                                   int64_t *correct);

/* Begins a run over the samples in use, from the weights as they are; or continues that of the state that was loaded. */
LIBMEST_API int libmest_begin(LibmestModel *model, const LibmestSettings *settings);
LIBMEST_API int libmest_continue(LibmestModel *model, const LibmestSettings *settings);
/* One batch of the run: of the evaluation before it, of an epoch, of the evaluation after it. */
LIBMEST_API int libmest_advance(LibmestModel *model, LibmestProgress *progress);
/* The whole run, its state saved whenever due to a path; NULL: the caller saves when told that it is due. A plan with patience
 * needs the path: beside it, with .best at its end, the best epoch waits until the run comes back to its weights. (A caller of
 * libmest_advance keeps a state whenever an epoch has gained, and loads the last one of them in the end.) */
LIBMEST_API int libmest_run(LibmestModel *model, const char *state_path, LibmestCallback callback, void *context,
                            LibmestProgress *progress);

/* The state: weights, optimizer and where the run is. A file is replaced as a whole or not at all. A state whose numbers are
 * not finite is refused. Loading checks all of it first; where the index lists of a network that mutates do not fit it,
 * the weights are those of the plan afterwards. */
LIBMEST_API int libmest_save(LibmestModel *model, LibmestWrite write, void *context);
LIBMEST_API int libmest_save_bytes(LibmestModel *model, void *into, size_t room); /* needs facts.state_bytes */
LIBMEST_API int libmest_save_path(LibmestModel *model, const char *path);
LIBMEST_API int libmest_load(LibmestModel *model, const LibmestSource *state);
LIBMEST_API int libmest_load_bytes(LibmestModel *model, const void *bytes, size_t nbytes);
LIBMEST_API int libmest_load_path(LibmestModel *model, const char *path);
/* The weights that the plan came with, and no steps behind them. */
LIBMEST_API int libmest_reset(LibmestModel *model);

#ifdef __cplusplus
}
#endif

#endif

/* What a LibmestModel is, and what its functions begin with. */
#ifndef MEST_HANDLE_H
#define MEST_HANDLE_H

#include "train.h"

struct LibmestModel {
    Fault fault;
    int opened, prepared, trains; /* how far it has come */
    int used, labelled;           /* samples came into use, and their labels were taken in */
    Plan plan;
    Data data;
    Source state; /* the one that was loaded last */
    Machine machine;
    Training training;
};

/* As the public functions of the like names, of sources that are released with the model. */
int mest_open_source(LibmestModel *model, const LibmestSource *plan, void (*release)(void *));
int mest_use_source(LibmestModel *model, const LibmestSource *data, void (*release)(void *));
/* A handle and nothing in it; NULL where there is no memory for it. */
LibmestModel *mest_handle(void);
/* As much of a struct that begins with its size as the caller, whose size stands there already, has room for. */
void mest_give(void *into, const void *found, size_t found_bytes);
/* A fault unless all memory was asked for, for training if it `trains`. Empties the message. */
int mest_need(LibmestModel *model, int trains);
int mest_need_open(LibmestModel *model);
/* The same, and that samples are in use. */
int mest_need_samples(LibmestModel *model, int trains);
/* Samples of a data file that can be added to: 0 where it is not begun. A fault where it is for another plan. */
int mest_collected_path(LibmestModel *model, const char *path, int64_t *in_all);
/* The head of the state, sealed, of weights that are finite. */
int mest_seal(LibmestModel *model);

#endif

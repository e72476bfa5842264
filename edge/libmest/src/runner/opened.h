/* The library as the commands use it: what fails there ends the process with the library's own line and code. */
#ifndef MEST_OPENED_H
#define MEST_OPENED_H

#include <stdio.h>

#include "../../include/libmest.h"
#include "options.h"

/* The plan that the options name. */
LibmestModel *opened(const Options *o);
/* Ends the process where `wrong` is a code; whatever it was that the library did. */
void must(const LibmestModel *model, int wrong);
/* Takes the data that the options name, unless they name pictures, sets the budget, and asks for all memory. */
void prepared(LibmestModel *model, const Options *o, int purpose);
LibmestFacts facts_of(const LibmestModel *model);
/* For the scores of a piece: where the network's own answers lie, which become them. */
float *room_for_scores(const LibmestModel *model);
/* For the numbers of a sample, until the next one of a data file is read. */
void *room_for_sample(const LibmestModel *model);
/* False where a picture cannot be read or is too large, which is said, and `*ends` is the worst code of all so far. */
int picture_read(LibmestModel *model, const char *path, void *pixels, int *ends);
/* The number and name of every class, from the first to the last of `most`. */
void print_classes(FILE *out, const LibmestModel *model, int32_t most);
/* JSON of the plan, as it is: the choices that finetune prints, all facts, or the fields of a record. */
void print_choices(FILE *out, const LibmestModel *model);
void print_facts(FILE *out, const LibmestModel *model);
void print_recorded(FILE *out, const LibmestModel *model);

#endif

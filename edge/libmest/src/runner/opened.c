#include "opened.h"

#include "../library/handle.h"
#include "limits.h"
#include "say.h"

void must(const LibmestModel *model, int wrong) {
    if (wrong) die(wrong, "%s", libmest_message(model));
}

LibmestModel *opened(const Options *o) {
    LibmestModel *model;
    const int wrong = libmest_open_path(o->plan, &model);
    must(model, wrong);
    model->fault.as_options = 1;
    return model;
}

void prepared(LibmestModel *model, const Options *o, int purpose) {
    int cut;
    if (!o->picture_count) {
        must(model, libmest_use_path(model, o->data));
        libmest_used(model, NULL, NULL, &cut);
        if (cut) say("%s: ends within a sample, which is left out", o->data);
    }
    limits_set(model->plan.head.budget_bytes);
    must(model, libmest_prepare(model, purpose, 0));
}

LibmestFacts facts_of(const LibmestModel *model) {
    LibmestFacts facts = {.bytes = sizeof facts};
    libmest_facts(model, &facts);
    return facts;
}

float *room_for_scores(const LibmestModel *model) { return model->machine.logits; }

void *room_for_sample(const LibmestModel *model) { return model->machine.raw; }

int picture_read(LibmestModel *model, const char *path, void *pixels, int *ends) {
    const int wrong = libmest_read_picture_path(model, path, pixels);
    if (wrong != BAD_INPUT && wrong != OVER_BUDGET) must(model, wrong);
    if (!wrong) return 1;
    say("%s", libmest_message(model));
    if (wrong > *ends) *ends = wrong; /* OVER_BUDGET is the greater one */
    return 0;
}

static void print_part(FILE *out, const LibmestModel *model, int64_t at, int64_t nbytes) {
    char piece[1024];
    while (nbytes) {
        const int64_t count = nbytes < (int64_t)sizeof piece ? nbytes : (int64_t)sizeof piece;
        must(model, mest_plan_read(&model->plan, at, count, piece));
        fwrite(piece, 1, (size_t)count, out);
        at += count;
        nbytes -= count;
    }
}

void print_classes(FILE *out, const LibmestModel *model, int32_t most) {
    const MestPlan *h = &model->plan.head;
    int32_t number = 0;
    int begins = 1;
    for (int64_t i = 0; i < h->names_bytes && number < most; i++) {
        char letter;
        must(model, mest_plan_read(&model->plan, h->names_at + i, 1, &letter));
        if (begins) fprintf(out, "%s%d ", number ? ", " : "", number);
        if (letter) fputc(letter, out);
        begins = !letter;
        number += !letter;
    }
    if (number < h->classes) fputs(", ...", out);
}

void print_choices(FILE *out, const LibmestModel *model) {
    print_part(out, model, model->plan.head.chosen_at, model->plan.head.chosen_bytes);
}

void print_facts(FILE *out, const LibmestModel *model) { print_part(out, model, model->plan.head.facts_at, model->plan.head.facts_bytes); }

void print_recorded(FILE *out, const LibmestModel *model) {
    print_part(out, model, model->plan.head.record_at, model->plan.head.record_bytes);
}

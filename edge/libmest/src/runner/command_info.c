#include <stdio.h>

#include "commands.h"
#include "opened.h"
#include "say.h"

enum { MOST_NAMED = 20 }; /* classes */

int command_info(int count, char **words) {
    const Options o = options_read(count, words, " --json --quiet ");
    LibmestModel *model = opened(&o);
    const LibmestFacts f = facts_of(model);
    if (o.json) {
        print_facts(stdout, model);
        putchar('\n');
        libmest_close(model);
        return DONE;
    }
    char planned[24], budget[24], arena[24], tensors[24], pictures[24];
    printf("input          %dx%dx%d, %d classes\n", f.channels, f.height, f.width, f.classes);
    fputs("classes        ", stdout);
    print_classes(stdout, model, MOST_NAMED);
    printf("\nplanned peak   %s%s%s\n", mest_size_text(planned, f.planned_peak_bytes), f.budget_bytes ? " of " : "",
           f.budget_bytes ? mest_size_text(budget, f.budget_bytes) : "");
    printf("  arena        %s\n  tensors      %s\n", mest_size_text(arena, f.arena_bytes), mest_size_text(tensors, f.tensors_bytes));
    if (f.picture_bytes) printf("pictures       up to %s to decode one\n", mest_size_text(pictures, f.picture_bytes));
    printf("batch          %d, in micro-batches of %d, %d threads\n", f.batch_size, f.piece, f.threads);
    printf("computes with  %s\n", f.instruction_set);
    printf("run            %d epochs, learning rate %g, seed %lld\n", f.epochs, f.learning_rate, (long long)f.seed);
    printf("sparsity       %.2f%%\n", 100 * f.sparsity);
    libmest_close(model);
    return DONE;
}

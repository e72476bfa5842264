#include <stdio.h>
#include <string.h>

#include "../mest.h"
#include "commands.h"
#include "options.h"
#include "plan.h"
#include "say.h"

int command_info(int count, char **words) {
    const Options o = options_read(count, words, " --json --quiet ");
    const Plan plan = plan_open(o.plan);
    const MestPlan *h = &plan.head;
    if (o.json) {
        plan_print(&plan, h->facts_at, h->facts_bytes, stdout);
        putchar('\n');
        return DONE;
    }
    char planned[24], budget[24], arena[24], tensors[24], sets[256] = "";
    mest_instruction_sets(sets, sizeof sets);
    sets[strcspn(sets, " ")] = 0; /* the best one comes first, and is taken */
    printf("input          %dx%dx%d, %d classes\n", h->channels, h->height, h->width, h->classes);
    printf("planned peak   %s%s%s\n", size_text(planned, h->planned_peak_bytes), h->budget_bytes ? " of " : "",
           h->budget_bytes ? size_text(budget, h->budget_bytes) : "");
    printf("  arena        %s\n  tensors      %s\n", size_text(arena, h->arena_bytes), size_text(tensors, h->tensors_bytes));
    printf("batch          %d, in pieces of %d, %d threads\n", h->batch_size, h->micro_batch, h->threads);
    printf("computes with  %s\n", sets);
    printf("run            %d epochs, learning rate %g, seed %lld\n", h->epochs, h->learning_rate, (long long)h->seed);
    printf("sparsity       %.2f%%\n", 100 * h->sparsity);
    return DONE;
}

/* All operators for one instruction set. Compiled once per set with MEST_ISA (its name) and MEST_VL (floats in a vector). */
#include "isa.h"
#include "program.h"

#include "operators/running.h"
#include "operators/table.h"

#define X(NAME, run, check) [MEST_OP_##NAME] = run,
static void (*const runs[MEST_OP_COUNT])(const Context *, const MestStep *) = {MEST_OPERATORS(X)};
#undef X

static void run_step(const MestProgram *program, MestCall *call, MestThreads *pool, long first_cache, int thread,
                     int micro_batch, int index) {
    MestPlacedStep placed;
    const MestStep *step = mest_place_step(program, program->steps + index, &placed);
    const Context context = {program, call, pool, thread, mest_threads_count(pool), micro_batch, first_cache};
    runs[step->op](&context, step);
}

#define NAMED_(isa) mest_isa_##isa
#define NAMED(isa) NAMED_(isa)
#define TEXT_(isa) #isa
#define TEXT(isa) TEXT_(isa)
const MestIsa NAMED(MEST_ISA) = {TEXT(MEST_ISA), MEST_VL, run_step};

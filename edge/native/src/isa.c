/* All operators for one instruction set. Compiled once per set with MEST_ISA (its name) and MEST_VL (floats in a vector). */
#include "isa.h"

#include "ops/conv.h"
#include "ops/conv_grad.h"
#include "ops/elementwise.h"
#include "ops/loss.h"
#include "ops/norm.h"
#include "ops/pooling.h"
#include "ops/update.h"

static void run_step(const MestProgram *program, MestCall *call, MestThreads *pool, int thread, int micro_batch, int index) {
    const MestStep *step = program->steps + index;
    const Context context = {program, call, pool, thread, mest_threads_count(pool), micro_batch};
    switch (step->op) {
    case MEST_OP_INPUT: op_input(&context, step); break;
    case MEST_OP_CONV: op_conv(&context, step); break;
    case MEST_OP_CONV_GRAD: op_conv_grad(&context, step); break;
    case MEST_OP_NORM_SUMS: op_norm_sums(&context, step); break;
    case MEST_OP_NORM_FINISH: op_norm_finish(&context, step); break;
    case MEST_OP_NORM_GRAD_SUMS: op_norm_grad_sums(&context, step); break;
    case MEST_OP_NORM_GRAD_FINISH: op_norm_grad_finish(&context, step); break;
    case MEST_OP_ADD: op_add(&context, step); break;
    case MEST_OP_COPY: op_copy(&context, step); break;
    case MEST_OP_PUSH_GRAD: op_push_grad(&context, step); break;
    case MEST_OP_MAX_POOL: op_max_pool(&context, step); break;
    case MEST_OP_MAX_POOL_GRAD: op_max_pool_grad(&context, step); break;
    case MEST_OP_AVG_POOL: op_avg_pool(&context, step); break;
    case MEST_OP_AVG_POOL_GRAD: op_avg_pool_grad(&context, step); break;
    case MEST_OP_SELECT: op_select(&context, step); break;
    case MEST_OP_SELECT_GRAD: op_select_grad(&context, step); break;
    case MEST_OP_LOSS: op_loss(&context, step); break;
    case MEST_OP_ZERO: op_zero(&context, step); break;
    case MEST_OP_UPDATE: op_update(&context, step); break;
    case MEST_OP_OUTPUT: op_output(&context, step); break;
    }
}

#define NAMED_(isa) mest_isa_##isa
#define NAMED(isa) NAMED_(isa)
#define TEXT_(isa) #isa
#define TEXT(isa) TEXT_(isa)
const MestIsa NAMED(MEST_ISA) = {TEXT(MEST_ISA), MEST_VL, run_step};

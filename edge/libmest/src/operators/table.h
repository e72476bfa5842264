/* The steps: one row each, in the order of OPS in vocabulary.py: what runs it, and what checks it before a program runs. */
#ifndef MEST_TABLE_H
#define MEST_TABLE_H

#include "../program.h"

#define MEST_OPERATORS(X)                                            \
    X(INPUT, op_input, check_input)                                  \
    X(CONV, op_conv, check_conv)                                     \
    X(CONV_GRAD, op_conv_grad, check_conv_grad)                      \
    X(NORM_SUMS, op_norm_sums, check_norm)                           \
    X(NORM_FINISH, op_norm_finish, check_norm)                       \
    X(NORM_GRAD_SUMS, op_norm_grad_sums, check_norm)                 \
    X(NORM_GRAD_FINISH, op_norm_grad_finish, check_norm)             \
    X(SAMPLE_NORM, op_sample_norm, check_sample_norm)                \
    X(SAMPLE_NORM_GRAD, op_sample_norm_grad, check_sample_norm)      \
    X(ADD, op_add, check_add)                                        \
    X(COPY, op_copy, check_copy)                                     \
    X(PUSH_GRAD, op_push_grad, check_push_grad)                      \
    X(ARITHMETIC, op_arithmetic, check_arithmetic)                   \
    X(ARITHMETIC_GRAD, op_arithmetic_grad, check_arithmetic_grad)    \
    X(STORED_GRAD, op_stored_grad, check_stored_grad)                \
    X(MAX_POOL, op_max_pool, check_pool)                             \
    X(MAX_POOL_GRAD, op_max_pool_grad, check_pool)                   \
    X(AVG_POOL, op_avg_pool, check_pool)                             \
    X(AVG_POOL_GRAD, op_avg_pool_grad, check_pool)                   \
    X(SELECT, op_select, check_select)                               \
    X(SELECT_GRAD, op_select_grad, check_select)                     \
    X(CONCAT, op_concat, check_concat)                               \
    X(CONCAT_GRAD, op_concat_grad, check_concat_grad)                \
    X(LOSS, op_loss, check_logits)                                   \
    X(LOSS_MARKS, op_loss_marks, check_loss_of_many)                 \
    X(LOSS_VALUES, op_loss_values, check_loss_of_many)               \
    X(LOSS_PIXELS, op_loss_pixels, check_loss_of_many)               \
    X(ZERO, op_zero, check_zero)                                     \
    X(UPDATE, op_update, check_update)                               \
    X(OUTPUT, op_output, check_logits)                               \
    X(ATTENTION, op_attention, check_attention)                      \
    X(ATTENTION_GRAD, op_attention_grad, check_attention)            \
    X(PREPEND, op_prepend, check_prepend)                            \
    X(PREPEND_GRAD, op_prepend_grad, check_prepend_grad)             \
    X(POSITIONS, op_positions, check_positions)                      \
    X(POSITIONS_GRAD, op_positions_grad, check_positions_grad)       \
    X(SELECT_POSITIONS, op_select_positions, check_select_positions) \
    X(SELECT_POSITIONS_GRAD, op_select_positions_grad, check_select_positions_grad) \
    X(NARROW, op_narrow, check_narrow)                               \
    X(WIDEN, op_widen, check_widen)                                  \
    X(RESAMPLE, op_resample, check_resample)                         \
    X(RESAMPLE_GRAD, op_resample_grad, check_resample_grad)          \
    X(CONV_TRANSPOSE, op_conv_transpose, check_conv_transpose)       \
    X(CONV_TRANSPOSE_GRAD, op_conv_transpose_grad, check_conv_transpose_grad) \
    X(MATMUL, op_matmul, check_matmul)                               \
    X(MATMUL_GRAD, op_matmul_grad, check_matmul)                     \
    X(SOFTMAX, op_softmax, check_softmax)                            \
    X(SOFTMAX_GRAD, op_softmax_grad, check_softmax)                  \
    X(TRANSPOSE, op_transpose, check_transpose)                      \
    X(TRANSPOSE_GRAD, op_transpose_grad, check_transpose)

#define MEST_OP_ROW(NAME, run, check) OP_ROW_##NAME,
enum { MEST_OPERATORS(MEST_OP_ROW) OP_ROWS };
#undef MEST_OP_ROW
_Static_assert((int)OP_ROWS == (int)MEST_OP_COUNT, "as many steps as Python knows");
#define MEST_OP_ORDER(NAME, run, check) \
    _Static_assert((int)OP_ROW_##NAME == (int)MEST_OP_##NAME, #NAME " stands where Python has it");
MEST_OPERATORS(MEST_OP_ORDER)
#undef MEST_OP_ORDER

#endif

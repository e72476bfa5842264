/* The inner loops of the native kernels, each in a function of its own, so that bench/inner_loops.py can read them. */
#include "../edge/libmest/src/kernels/dots.h"
#include "../edge/libmest/src/kernels/rows.h"

#if MEST_VL > 1
void rows_csr(const RowsTask *t) { rows_kernel1(t, 1, NV1, 0, 1); }
void rows_csr_square(const RowsTask *t) { rows_kernel1(t, 2, NV1 / 2, 0, 1); }
void rows_block(const RowsTask *t) { rows_kernel(t, 4, NV4, 0); }
void rows_csr_transposed(const RowsTask *t) { rows_kernel1(t, 1, NV1, 1, 1); }
void dots_csr(const DotsTask *t) { dots_kernel(t, 0, 1, NB1); }
void dots_block(const DotsTask *t) { dots_kernel(t, 0, 4, NB4); }
#else
void rows_csr(const RowsTask *t) { rows_run(t, 1, 1, 1); }
void dots_csr(const DotsTask *t) { dots_run(t, 1); }
#endif

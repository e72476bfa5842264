/* The plain version of dots.h: the definition, one float at a time. */
static void dots_run(const DotsTask *t, int rows) {
    for (long i = 0; i < t->count; i++)
        for (int j = 0; j < rows; j++) {
            float sum = 0;
            for (long r = 0; r < t->runs; r++)
                for (long p = 0; p < t->length; p++)
                    sum += t->gradient[j * t->gradient_stride + r * t->run_stride + p] *
                           t->panel[t->offsets[i] + r * t->run_stride + p];
            t->grads[i * t->entry_step + j * t->row_step] += sum;
        }
}

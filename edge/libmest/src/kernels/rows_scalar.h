/* The plain version of rows.h: the definition, one float at a time. */
static void rows_run(const RowsTask *t, int rows, int lines, int vectors) {
    for (int j = 0; j < rows; j++)
        for (long l = 0; l < lines; l++)
            for (long p = 0; p < vectors; p++) {
                float *out = t->out + j * t->out_stride + l * t->out_line + p;
                float sum = t->more ? *out : 0;
                for (long i = 0; i < t->count; i++) {
                    const long place = (t->places ? (long)t->places[i] : i * t->entry_step) + j * t->row_step;
                    for (long d = 0; d < t->depth; d++)
                        sum += t->values[place + d] * t->panel[t->offsets[i] + d * t->plane + l * t->line + p];
                }
                *out = sum;
            }
}

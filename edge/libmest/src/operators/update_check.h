/* Room for every trained tensor. */
#ifndef MEST_UPDATE_CHECK_H
#define MEST_UPDATE_CHECK_H

#include "checking.h"

static void check_update(Check *k) {
    hold(k, k->s->update != NULL);
    for (int32_t i = 0; k->good && i < k->p->param_count; i++) {
        const MestPlannedParam *p = k->p->params + i;
        written(k, p->values, p->count, 4);
        floats(k, p->grads, p->count);
        if (p->first) written(k, p->first, p->count, 4);
        if (p->second) written(k, p->second, p->count, 4);
        if (k->s->update->kind) hold(k, p->first && p->second);
    }
}

#endif

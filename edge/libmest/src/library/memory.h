/* Memory that is asked for once, of zeros that take no room before they are touched, where the system has such. */
#ifndef MEST_MEMORY_H
#define MEST_MEMORY_H

#include <stddef.h>

/* At a multiple of 64; NULL where it is refused. */
void *mest_memory_ask(size_t nbytes);
void mest_memory_return(void *block, size_t nbytes);

#endif

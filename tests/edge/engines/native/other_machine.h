/* Included before every source: the system's headers as they are, then no name of this processor, so that the sources
   are compiled as for a machine that they know nothing of. */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef __x86_64__
#undef __aarch64__
#undef __ARM_NEON
#undef __SSE2__

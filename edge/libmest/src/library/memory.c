#include "memory.h"

#include <sys/mman.h>

/* From this size on huge pages are asked for, as numpy does for its arrays: fewer misses of the address cache. They lie
   within the block, so its peak is no larger. */
enum { HUGE_PAGES_FROM = 4 << 20 };

void *mest_memory_ask(size_t nbytes) {
    void *block = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return NULL;
    if (nbytes >= HUGE_PAGES_FROM) madvise(block, nbytes, MADV_HUGEPAGE); /* advice: a system without them goes on */
    return block;
}

void mest_memory_return(void *block, size_t nbytes) {
    if (block) munmap(block, nbytes);
}

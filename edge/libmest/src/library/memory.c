#include "memory.h"

#include <sys/mman.h>

void *mest_memory_ask(size_t nbytes) {
    void *block = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

void mest_memory_return(void *block, size_t nbytes) {
    if (block) munmap(block, nbytes);
}

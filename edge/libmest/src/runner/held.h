/* One process at a time writes a state: edge/files/lock.py, for a file. */
#ifndef MEST_HELD_H
#define MEST_HELD_H

/* Holds STATE.lock until the process ends, whatever ends it; ends the process where another one holds it. A file system
 * that grants no locks is not asked again. */
void hold(const char *state);

#endif

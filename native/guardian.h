#ifndef LAMINA_GUARDIAN_H
#define LAMINA_GUARDIAN_H
#include <stdint.h>

#include "error.h"
#include "cdef/guardian.h"

/* Run `work(own)` in a process of its own that a SIGKILL of lamina does not reach, and wait for it. It has lamina's memory, a stack of its
   own, and beside that what `shares` says (CLONE_FILES). The calling thread is suspended (vfork(2)): `work` may use that thread's errno, and
   must not allocate, for nobody would know whose the heap's lock is if lamina died. Returns -1 if there can be none. */
int lm_apart(void (*work)(void *), void *own, int shares, lm_error *err);
#endif

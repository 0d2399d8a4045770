/* Waiting for a tracee to stop: what the ptrace files share. */
#ifndef LAMINA_STOPS_H
#define LAMINA_STOPS_H
#include "error.h"

#define LM_STOP_TIMEOUT_NS 10000000000ull
#define LM_NSIG_BYTES 8 /* the kernel's sigset_t */

/* waitpid with a deadline: a thread in uninterruptible sleep may not stop for a long time. */
int lm_wait_stop(int tid, int *status, lm_error *err);
/* Wait for the stop that PTRACE_INTERRUPT asked for. Returns 0 stopped, 1 gone, -1 failed. */
int lm_settle(int tid, lm_error *err);
#endif

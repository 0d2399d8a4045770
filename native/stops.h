/* Waiting for a tracee to stop: what the ptrace files share. No wait here is without an end. */
#ifndef LAMINA_STOPS_H
#define LAMINA_STOPS_H
#include <stdint.h>

#include "cdef/stops.h"
#include "error.h"
#include "tracee.h"

/* How long a thread is given to stop, and a batch to end. A thread in uninterruptible sleep may take for ever, and while we wait for it the
   others of its program stand still: longer than any disk that works, shorter than a user's patience. */
#define LM_STOP_LIMIT_NS 1000000000ull
/* The same once one has been late: it would be waited for again by whatever puts things right after that. */
#define LM_AGAIN_NS 200000000ull
/* The same for one that would stop but gets no processor (state R in its stat file): that is the machine's load, and it will come. */
#define LM_LOADED_LIMIT_NS 5000000000ull
#define LM_NSIG_BYTES 8 /* the kernel's sigset_t */

/* waitpid for one tracee until `limit`, and on for as long as it is runnable, up to the loaded limit. -1 with ETIMEDOUT: it did not come. */
int lm_wait_stop(int tid, int *status, uint64_t limit, lm_error *err);
/* Wait for the stop that PTRACE_INTERRUPT asked for. Returns 0 stopped, 1 gone, -1 failed (ETIMEDOUT: late). */
int lm_settle(int tid, uint64_t limit, lm_error *err);
/* One look, without waiting: 1 if *status was filled. The end of a child of this process is only looked at: it is reaped by who started it. */
int lm_look(int tid, int *status, lm_error *err);
/* Between two looks: busy at first, then asleep. `*looks` counts them. */
void lm_pause_between_looks(unsigned *looks);
/* State letter of a thread as in proc(5); 0 if it has gone. */
char lm_state_of(int tid);

/* Threads that were asked to stop and have not yet, or are on their way out. Only the thread that seized them can let them go, and only once they have stopped, or by
   ending itself (kernel/ptrace.c, exit_ptrace): each tracing thread keeps its own list. */
void lm_late_add(int tid);
/* Ask `tid` again, if it is one of them and still there: 1, and it is none of them any more. */
int lm_late_take(int tid);
/* A call that stopped threads show as EINTR, though no handler is due, is marked to begin anew. Returns whether `regs` changed. */
int lm_begin_anew(lm_regs *regs);
#endif

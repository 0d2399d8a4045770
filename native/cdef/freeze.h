/* Whole tasks: all threads stopped, put back and let go, or ended. */

/* Freeze every thread of `pid`: seize and interrupt all, look again until no new one appears, then read each.
   `*count` in: room in `threads`; out: threads found (the leader first). Returns -1 and leaves the task running if it cannot, ENOSPC with
   the needed count in err->object if there is no room, ETIMEDOUT if a thread had not stopped at `limit` (CLOCK_MONOTONIC, ns; lm_stop_limit()):
   the others go on at once, that one as soon as it stops (cdef/stops.h). frozen_ns: CLOCK_MONOTONIC of the first interrupt. */
int lm_freeze_task(int pid, lm_thread *threads, int *count, uint64_t limit, uint64_t *frozen_ns, lm_error *err);
/* Put back registers and mask of every thread that still differs, also out of a batch that was not waited for, then let all go. Never fails half way: goes on and reports the first. */
int lm_thaw_task(lm_thread *threads, int count, lm_error *err);
/* End every thread of a frozen task by SIGKILL and reap what is ours to reap. */
int lm_kill_task(int pid, lm_thread *threads, int count, lm_error *err);

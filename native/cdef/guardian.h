/* System calls in a running process, made by a small process of its own, which a SIGKILL of lamina does not reach. */

enum { LM_GUARDED_MAX = 4 };

/* Stop thread `tid` alone, make `count` calls (at most LM_GUARDED_MAX; number and six arguments each) one after the other at the `syscall`
   instruction at `syscall_address`, put everything back and let it go. first[n]: the earlier call whose result is the first argument of call
   n, or -1. results[n]: what it returned, -errno on failure; after a failure the rest is not made and says -ECANCELED.
   If lamina dies meanwhile, the guardian finishes all the same.
   Returns -1 if the thread cannot be traced, does not stop, is none to make calls in (lm_may_inject), if there is no such instruction or the
   kernel forces a signal on a call; the target is then as before, but for the calls that were made. */
int lm_guarded_calls(int tid, uint64_t syscall_address, const uint64_t *calls, const int8_t *first, int count, int64_t *results,
                     lm_error *err);

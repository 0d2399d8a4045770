/* One system call in a running process, made by a small process of its own, which a SIGKILL of lamina does not reach. */

/* Stop thread `tid` alone, make the call at the `syscall` instruction at `syscall_address`, put everything back and let it go.
   *result: what it returned, -errno on failure. If lamina dies meanwhile, the guardian finishes all the same.
   Returns -1 if the thread cannot be traced, does not stop, is none to make calls in (lm_may_inject), if there is no such instruction or the
   kernel forces a signal on the call; the target is then as before. */
int lm_guarded_call(int tid, uint64_t syscall_address, const uint64_t call[7], int64_t *result, lm_error *err);

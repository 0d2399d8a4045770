/* The switch of a restore: from "dies with us" to "runs on its own", for a whole tree in one step.

   Until then every thread dies with its tracer (PTRACE_O_EXITKILL), and that can only be taken back thread by thread. So a guardian stands by
   that kills all of `pids` if we die before all is taken back; one byte in a pipe tells it that they may live, and is the switch. */

/* Let go of `count` stopped threads of the `process_count` processes `pids`. signals[i]: bits of signals that thread i is sent again before it
   goes on (those that came while it ran a batch). On failure before the switch nothing was let go; after it, goes on and reports the first. */
int lm_release_all(const int *tids, const uint64_t *signals, int count, const int *pids, int process_count, lm_error *err);

/* Threads that did not stop when they were asked to (uninterruptible sleep). The kernel stops them whenever they come out of it. */

/* Let go of those that have stopped meanwhile; returns how many are still to come. They are let go at once, stopped or not, when the calling
   thread ends: whoever gets more than 0 here ends that thread. */
int lm_late_threads(void);
/* When a wait for stops that begins now has to be over (CLOCK_MONOTONIC, ns): one for all threads of all tasks of a freeze. */
uint64_t lm_stop_limit(void);

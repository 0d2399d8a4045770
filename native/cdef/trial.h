/* The kernel, asked beforehand: tried on ourselves and taken back at once, with the arguments that a restore will use inside a new process. No
   rule of the kernel is written down here, and none can be forgotten. */

/* mmap(2) of `size` bytes anywhere, with the advice of madvise(2), then the final protection; nothing is touched or stays. `fd` is -1 for anonymous
   memory. Fails as the call that failed; `object` of the error is then 0 for mmap, the number of the advice, or -1 for mprotect. */
int lm_try_map(int fd, uint64_t size, int prot, int final_prot, int flags, uint64_t offset, const int *advice, int advised, lm_error *err);
/* prctl(2) PR_SET_MM_MAP with these eleven addresses (struct prctl_mm_map, in its order) and an auxiliary vector of so many words. The vector lies
   where nothing can be read, which the kernel finds after it has checked all else and before it has changed anything. */
int lm_try_mm(const uint64_t addresses[11], int auxv_words, lm_error *err);
/* timer_create(2) by this clock, notifying nobody, and timer_delete(2): some clocks need hardware or a right. */
int lm_try_timer(int clock, lm_error *err);

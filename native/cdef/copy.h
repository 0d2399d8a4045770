/* Pages out of a process from outside: process_vm_readv with up to 1,024 runs a call, and /proc/PID/mem where an area's own protection
   refuses it. `mem` is a descriptor of /proc/PID/mem, or -1 to do without.

   A page that cannot be read (its area vanished in a live round) is no failure: its place is filled with zeros and it is added to
   `lost`, which must be empty if the process was frozen. */

/* Copy the runs, one behind the other, to `buffer`. Returns bytes. Refuses a buffer that is too small. */
int64_t lm_copy_runs(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, uint8_t *buffer, uint64_t size,
                     lm_array *lost, lm_error *err);
/* Copy the runs, one behind the other, to descriptor `fd` from byte `offset` on, through `buffer`. Returns bytes. */
int64_t lm_copy_runs_to_fd(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, int fd, uint64_t offset,
                           uint8_t *buffer, uint64_t size, lm_array *lost, lm_error *err);

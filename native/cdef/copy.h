/* Pages out of a process, and into it, from outside: process_vm_readv and process_vm_writev with up to 1,024 runs a call, and
   /proc/PID/mem where an area's own protection refuses them. `mem` is a descriptor of /proc/PID/mem, or -1 to do without.

   A page that cannot be read (its area vanished in a live round) is no failure: its place is filled with zeros and it is added to
   `lost`, which must be empty if the process was frozen. */

/* Copy the runs, one behind the other, to `buffer`. Returns bytes. Refuses a buffer that is too small. */
int64_t lm_copy_runs(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, uint8_t *buffer, uint64_t size,
                     lm_array *lost, lm_error *err);
/* Copy the runs, one behind the other, to descriptor `fd` from byte `offset` on, through `buffer`. Returns bytes. */
int64_t lm_copy_runs_to_fd(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, int fd, uint64_t offset,
                           uint8_t *buffer, uint64_t size, lm_array *lost, lm_error *err);
/* Write `buffer`, which holds the runs one behind the other, into the process. Returns bytes; fails at the first page that cannot be
   written, its address in err->object. */
int64_t lm_copy_to_runs(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, const uint8_t *buffer,
                        uint64_t size, lm_error *err);
/* The same from a file: run i lies at byte offsets[i] of `fd`. Read through `buffer`. Fails if the file ends before a run does. */
int64_t lm_copy_from_fd(int pid, int mem, const uint64_t *starts, const uint64_t *ends, const uint64_t *offsets, uint64_t count, int fd,
                        uint8_t *buffer, uint64_t size, lm_error *err);

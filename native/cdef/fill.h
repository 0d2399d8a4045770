/* Pages of a pages file straight into the memory of a process being rebuilt, from outside it (process_vm_writev). */

/* `length` bytes of the file at `offset` belong at `address`. All three are multiples of the page size. */
typedef struct {
    uint64_t address, length, offset;
} lm_piece;

/* Write the pieces in order; `file` is the mapped pages file (a file cut short meanwhile is an error, not a SIGBUS: the kernel copies).
   Neighbours are joined, at most 1024 scattered runs go into a system call. Returns bytes written; err->object = the address it stopped at. */
int64_t lm_fill_pieces(int pid, const void *file, uint64_t file_size, const lm_piece *pieces, int count, lm_error *err);
/* Give each 2 MiB block a huge page before it is filled: one touch, then MADV_COLLAPSE through `pidfd` (Linux 6.1), which leaves no flag
   on the area. Only for blocks that will be filled whole. A kernel that will not is no failure: returns how many runs it took. `runs` holds
   `count` pairs (start, end), aligned to 2 MiB. */
int lm_fill_huge(int pid, int pidfd, const uint64_t *runs, int count, lm_error *err);

/* System calls made inside a stopped thread. A batch is a loop in a page of the target (arch/) that makes a list of calls and then stops for
   its tracer; with nobody there it restores mask, registers and flags and goes on where the thread was (docs/injection.md). */

/* A remote system call: number, arguments, and what it returned (-errno on failure). */
typedef struct {
    uint64_t nr;
    uint64_t args[6];
    int64_t result;
} lm_call;


/* One system call at a `syscall` instruction of the target, by PTRACE_SYSCALL, registers put back. The only act here that would leave the
   target somewhere else if the calling process died in the middle (docs/injection.md): made by a guardian wherever there is time for one. */
int lm_step_call(lm_thread *thread, uint64_t syscall_address, const uint64_t call[7], int64_t *result, lm_error *err);
/* Start a batch in the thread's slice `page` (RWX, `page_size` bytes, already mapped in the target): `calls` are run in order, then the
   thread stops for `signal`, one that it neither blocks nor handles and whose default is to be ignored (SIGURG, SIGWINCH or SIGCHLD). With
   signal 0, for a program that uses all of them, it waits to be interrupted instead, at most a second. `data` is copied behind the calls.
   Returns at once. If we die, the thread finishes all calls, restores mask and registers from the slice and goes on. */
int lm_batch_start(lm_thread *thread, int tgid, int signal, uint64_t page, uint64_t page_size, const lm_call *calls, int count,
                   const uint8_t *data, uint64_t data_size, lm_error *err);
/* Wait for the end of the batch, copy results into `calls` and `data` (both as given at the start), put back registers and mask. They are put back
   as well if it fails: a signal that the kernel forced on a call or on the batch itself (SIGSYS, SIGSEGV, …), or no end after limit_ns. */
int lm_batch_wait(lm_thread *thread, int signal, lm_call *calls, int count, uint8_t *data, uint64_t data_size, uint64_t limit_ns,
                  lm_error *err);
/* Give up a batch that runs: stop the thread and put back registers and mask. If it does not stop it is late (cdef/stops.h), and goes home
   by itself. */
int lm_batch_recall(lm_thread *thread, lm_error *err);
/* Bytes at the start of a slice that a batch needs for itself; data of a batch begins at page + lm_batch_overhead() + count * 64. */
uint64_t lm_batch_overhead(void);

/* How a process to be rebuilt comes into being: with the pid it had, held by the tracer before its first instruction. All calls must come
   from the one tracer thread; the caller may be as large and have as many threads as it likes. */

/* A process that does nothing yet but wait for its gate. */
typedef struct {
    int32_t pid;
    int32_t gate;           /* write end of a close-on-exec pipe: a byte lets the child exec, end of file makes it exit */
    int32_t exec_errno;     /* why its execve failed; 0 while it has not. Valid once it has ended */
    int32_t on_our_stack;   /* it has neither exec'd nor ended: its memory must stay */
    uint64_t memory_size;
    void *memory;           /* its stack and its orders, shared with us until it execs */
} lm_spawn;

/* Make process `pid` (clone3 with set_tid: EEXIST if anything still holds that number, EPERM without CAP_CHECKPOINT_RESTORE). It shares our
   memory (CLONE_VM: 0.1 ms however large we are), has all signals blocked and waits on `gate`; if we die it reads end of file and exits.
   orphan: it is no child of ours but of init or the nearest subreaper. The caller seizes it, then calls lm_spawn_exec. */
int lm_spawn_start(lm_spawn *spawn, int pid, const char *executable, uint64_t personality, int orphan, lm_error *err);
/* Open the gate: the child sets its personality, marks every descriptor close-on-exec and execs. It must have been seized with
   LM_OPT_TRACE_EXEC. Returns once it is stopped outside execve with no instruction of the program run, errno = why if execve failed. */
int lm_spawn_exec(lm_spawn *spawn, lm_error *err);
/* Close the gate if it is open: a process still behind it ends and is reaped. Then give the memory back. */
void lm_spawn_free(lm_spawn *spawn);
/* Make a stopped tracee call execve(executable, {executable}, {}) at `syscall_address`; strings go to `room` (its memory, writable, at
   least 8192 bytes). Returns as lm_spawn_exec does. */
int lm_exec_inside(int tid, uint64_t syscall_address, uint64_t room, const char *executable, lm_error *err);
/* Make a stopped tracee end: by exit_group(status >> 8), or by the signal in status & 127. Reaps it as its tracer, so that its real parent sees
   a zombie with that wait(2) status. */
int lm_exit_inside(int tid, uint64_t syscall_address, int status, lm_error *err);

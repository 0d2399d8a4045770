/* One traced thread: seize, stop, read, run a batch of system calls inside, put back, let go. All of it must be called from the one
   thread that seized (ptrace(2): another thread gets ESRCH). */

enum {
    LM_SEIZED = 1,       /* traced, running */
    LM_STOPPED = 2,      /* in a ptrace stop, its own registers in place */
    LM_IN_BATCH = 3,     /* running our batch; finishes by itself if we die */
    LM_MOVED = 4,        /* stopped, but its registers are not its own: only between two lines of one C function */
    LM_GONE = 5,         /* exited or released */
    LM_LATE = 6          /* asked to stop, and has not (cdef/stops.h) */
};

enum {
    LM_OPT_EXITKILL = 1,         /* the tracee dies with us: restore only, never a dump */
    LM_OPT_TRACE_EXEC = 4,
    LM_OPT_TRACE_CLONE = 8       /* fork, vfork and clone: new ones are traced and stopped before their first instruction */
};

#define LM_XSTATE_MAX 12288    /* x86-64 with AMX tiles is 11,008 */
#define LM_SIGINFO_BYTES 128

typedef struct {
    uint64_t r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags, rsp, ss, fs_base,
        gs_base, ds, es, fs, gs;
} lm_regs;

/* Everything about a thread that is read from outside. Filled at the stop, before anything runs inside. */
typedef struct {
    int32_t tid;
    int32_t state;
    lm_regs regs;               /* as stopped; rip already moved to the abort address if it was inside an rseq critical section, and a
                                   call that would be seen as EINTR only because of us already marked for restart */
    uint64_t sigmask;
    uint64_t rseq_address, rseq_cs;   /* rseq_cs: the descriptor's address as read, 0 if none */
    uint32_t rseq_size, rseq_signature, rseq_flags;
    uint32_t xstate_size;
    uint64_t robust_head, robust_size;
    uint64_t batch_page;        /* its slice of the scratch range; 0 if none */
    uint64_t own_signals;       /* bits of signals that came during a batch and are sent again at the thaw */
    uint64_t call_mask;         /* its signal mask while calls of ours run in it */
    uint32_t dispatch;          /* system call user dispatch: PR_SYS_DISPATCH_OFF is 0 */
    uint32_t audit_arch;        /* AUDIT_ARCH_* of the system call it is in */
    uint32_t port_rights;       /* 1: it may use processor ports (ioperm(2)) */
    uint8_t xstate[12288];
} lm_thread;

/* Begin tracing `tid` without stopping it (PTRACE_SEIZE), its seccomp filters suspended where the kernel lets us. options: LM_OPT_*. */
int lm_seize(int tid, unsigned options, lm_error *err);
/* Adopt a thread that the kernel attached by itself (TRACECLONE): wait for its first stop, without reading it. */
int lm_adopt(int tid, lm_thread *thread, lm_error *err);
/* Read registers, mask, rseq, xstate and robust list of a stopped thread anew. */
int lm_read_thread(lm_thread *thread, lm_error *err);
/* Write regs, xstate (if xstate_size) and sigmask of `thread` into the stopped tracee. */
int lm_write_thread(const lm_thread *thread, lm_error *err);
/* Whether calls can be made in a thread that was read: -1, and why not, if they would not come to the kernel (user dispatch), would be taken
   for others (32-bit code), or if the way home could not bring back what it has (segments of its own, the trap flag); err->where is then "unfit". Asks nothing of it. */
int lm_may_inject(const lm_thread *thread, lm_error *err);
/* Interrupt a seized, running thread and wait for its stop; ETIMEDOUT if it does not come (stops.h). */
int lm_interrupt(int tid, lm_error *err);
/* Let go of a stopped thread; 0 as well if it has been killed meanwhile (it then counts as late until its end is seen, cdef/stops.h). */
int lm_detach(int tid, lm_error *err);
/* The queued signals of a stopped thread, private or (shared = 1) of its task, as raw siginfo of LM_SIGINFO_BYTES each.
   Returns how many there are (at most `room`). */
int lm_peek_signals(int tid, int shared, uint8_t *siginfos, int room, lm_error *err);

/* What this kernel and this user can do, found by doing it to a child of our own. */

enum {
    LM_CAN_SEIZE = 1,            /* PTRACE_SEIZE and PTRACE_INTERRUPT */
    LM_CAN_RSEQ = 2,             /* PTRACE_GET_RSEQ_CONFIGURATION */
    LM_CAN_SUSPEND_SECCOMP = 4,  /* PTRACE_O_SUSPEND_SECCOMP */
    LM_CAN_GETFD = 8,            /* pidfd_getfd */
    LM_CAN_KCMP = 16,            /* kcmp */
    LM_CAN_SET_TID = 32,         /* clone3 with set_tid */
    LM_CAN_WRITE_MEMORY = 64,    /* process_vm_readv and process_vm_writev */
    LM_CAN_SOFT_DIRTY = 128,     /* clear_refs makes bit 55 of pagemap 0, and a write makes it 1 */
    LM_CAN_SET_MM_MAP = 256,     /* PR_SET_MM_MAP is there */
    LM_CAN_CHILDREN = 512        /* /proc/PID/task/TID/children */
};

/* Try all of the above; returns the bits of what works. Takes about 1 ms; the child is ended and reaped. */
int lm_probe(lm_error *err);

#include "tracee.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch/x86_64.h"
#include "remote.h"
#include "stops.h"

#ifndef PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG
#define PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG 0x4211
#endif

_Static_assert(sizeof(lm_regs) == LM_ARCH_REGS_BYTES, "lm_regs is user_regs_struct by another name");


/* Whether this lamina cannot suspend filters: without CAP_SYS_ADMIN, under a filter itself, or with a kernel that cannot (ptrace(2)). */
static int cannot_suspend_seccomp;

static long ptrace_options(unsigned options)
{
    /* Always: a filter, or strict mode, ends a program at a call of ours, and it may have come since anybody looked. */
    long flags = PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP;

    if (options & LM_OPT_EXITKILL)
        flags |= PTRACE_O_EXITKILL;
    if (options & LM_OPT_TRACE_EXEC)
        flags |= PTRACE_O_TRACEEXEC;
    if (options & LM_OPT_TRACE_CLONE)
        flags |= PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    return flags;
}

int lm_seize(int tid, unsigned options, lm_error *err)
{
    long flags = ptrace_options(options);

    /* Asked to stop before, late, and still ours. */
    if (lm_late_take(tid))
        return 0;
    if (ptrace(PTRACE_SEIZE, tid, 0L, flags) == 0)
        return 0;
    if ((errno == EPERM || errno == EINVAL) && ptrace(PTRACE_SEIZE, tid, 0L, flags & ~PTRACE_O_SUSPEND_SECCOMP) == 0) {
        cannot_suspend_seccomp = 1;
        return 0;
    }
    return lm_fail(err, "ptrace(SEIZE)", tid, "thread %d cannot be traced", tid);
}

int lm_detach(int tid, lm_error *err)
{
    if (ptrace(PTRACE_DETACH, tid, 0L, 0L) == 0)
        return 0;
    if (errno != ESRCH)
        return lm_fail(err, "ptrace(DETACH)", tid, "thread %d cannot be let go", tid);
    /* Killed, and on its way out: until its tracer has seen that, its program has not ended for anybody. */
    lm_late_add(tid);
    return 0;
}

int lm_interrupt(int tid, lm_error *err)
{
    int got;

    if (ptrace(PTRACE_INTERRUPT, tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(INTERRUPT)", tid, "thread %d cannot be interrupted", tid);
    got = lm_settle(tid, lm_stop_limit(), err);
    if (got > 0)
        return lm_refuse(err, "waitpid", tid, "thread %d has ended", tid);
    return got;
}

/* Calls that answer EINTR after any stop, although no handler ran (signal(7), "Interruption of system calls by stop signals", and those
   that give EINTR only with a timeout set on the socket). With ERESTARTNOHAND in its place the kernel itself decides: the call starts again
   unless a handler is due. Nothing was transferred by a call that says EINTR, so nothing happens twice. */
static int restarts_by_us(uint64_t nr)
{
    static const uint16_t calls[] = {
        SYS_read, SYS_readv, SYS_recvfrom, SYS_recvmsg, SYS_recvmmsg, SYS_sendto, SYS_sendmsg, SYS_accept, SYS_accept4,
        SYS_epoll_wait, SYS_epoll_pwait, 441 /* epoll_pwait2 */, SYS_rt_sigtimedwait, SYS_semop, SYS_semtimedop,
        SYS_msgrcv, SYS_msgsnd, SYS_io_getevents, SYS_mq_timedreceive, SYS_mq_timedsend,
    };

    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
        if (calls[i] == nr)
            return 1;
    return 0;
}

int lm_begin_anew(lm_regs *regs)
{
    if ((int64_t)regs->orig_rax < 0 || (int64_t)regs->rax != -EINTR || !restarts_by_us(regs->orig_rax))
        return 0;
    regs->rax = (uint64_t)-514; /* ERESTARTNOHAND */
    return 1;
}

/* Inside a restartable sequence the kernel would abort it on the way back to user mode, but it clears rseq_cs as soon as it sees any other
   ip (a batch of ours) and the section would go on unprotected (Documentation of rseq(2)): so we do the abort. */
static void apply_rseq(lm_thread *thread)
{
    struct {
        uint32_t version, flags;
        uint64_t start, length, abort;
    } section;

    if (!thread->rseq_address || lm_peek(thread->tid, thread->rseq_address + 8, &thread->rseq_cs, 8) < 0 || !thread->rseq_cs)
        return;
    if (lm_peek(thread->tid, thread->rseq_cs, &section, sizeof section) == 0 && thread->regs.rip - section.start < section.length)
        thread->regs.rip = section.abort;
}

/* How its next system call would be taken. Kernels before 6.4 cannot tell of user dispatch; there a call of ours ends with its SIGSYS. */
static void read_calling(lm_thread *thread)
{
    struct {
        uint64_t mode, selector, offset, length;
    } dispatch = {0};
    struct __ptrace_syscall_info info = {0};

    thread->dispatch = 0;
    if (ptrace(PTRACE_GET_SYSCALL_USER_DISPATCH_CONFIG, thread->tid, (long)sizeof dispatch, &dispatch) == 0)
        thread->dispatch = (uint32_t)dispatch.mode;
    thread->audit_arch = AUDIT_ARCH_X86_64;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread->tid, (long)sizeof info, &info) > 0)
        thread->audit_arch = info.arch;
}

/* The kernel answers ENXIO for a thread without a bitmap of ports; one word of it is enough. iopl(2) has none (since 5.5). */
static int has_port_rights(int tid)
{
    unsigned long word = 0;
    struct iovec first = {&word, sizeof word};

    return ptrace(PTRACE_GETREGSET, tid, (long)NT_386_IOPERM, &first) == 0;
}

int lm_read_thread(lm_thread *thread, lm_error *err)
{
    int tid = thread->tid;
    struct iovec xstate = {thread->xstate, sizeof thread->xstate};
    struct __ptrace_rseq_configuration rseq = {0};
    unsigned long head = 0, head_size = 0;

    if (ptrace(PTRACE_GETREGS, tid, 0L, &thread->regs) < 0)
        return lm_fail(err, "ptrace(GETREGS)", tid, "registers of %d", tid);
    if (ptrace(PTRACE_GETSIGMASK, tid, (long)LM_NSIG_BYTES, &thread->sigmask) < 0)
        return lm_fail(err, "ptrace(GETSIGMASK)", tid, "signal mask of %d", tid);
    if (ptrace(PTRACE_GETREGSET, tid, (long)NT_X86_XSTATE, &xstate) < 0)
        return lm_fail(err, "ptrace(GETREGSET)", tid, "extended registers of %d", tid);
    thread->xstate_size = (uint32_t)xstate.iov_len;
    thread->rseq_address = thread->rseq_cs = 0;
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, tid, (long)sizeof rseq, &rseq) > 0) {
        thread->rseq_address = rseq.rseq_abi_pointer;
        thread->rseq_size = rseq.rseq_abi_size;
        thread->rseq_signature = rseq.signature;
        thread->rseq_flags = rseq.flags;
    }
    apply_rseq(thread);
    read_calling(thread);
    thread->port_rights = (uint32_t)has_port_rights(tid);
    if (syscall(SYS_get_robust_list, tid, &head, &head_size) == 0) {
        thread->robust_head = head;
        thread->robust_size = head_size;
    }
    lm_begin_anew(&thread->regs);
    thread->state = LM_STOPPED;
    return 0;
}

static int seccomp_mode(int tid)
{
    char path[64], text[4096], *at;
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/status", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC); /* a guardian comes here, too: nothing may be allocated */
    if (fd < 0)
        return 0;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    at = strstr(text, "\nSeccomp:\t");
    return at ? atoi(at + 10) : 0;
}

int lm_may_inject(const lm_thread *thread, lm_error *err)
{
    const lm_regs *r = &thread->regs;
    int tid = thread->tid;

    if (thread->dispatch)
        return lm_refuse(err, "unfit", tid, "thread %d has its system calls dispatched to itself (PR_SET_SYSCALL_USER_DISPATCH)", tid);
    if (r->cs == LM_CS_32)
        return lm_refuse(err, "unfit", tid, "thread %d runs 32-bit code (code segment %#llx)", tid, (unsigned long long)r->cs);
    if (r->cs != LM_CS_64 || r->ss != LM_SS)
        return lm_refuse(err, "unfit", tid, "thread %d runs in segments of its own (cs %#llx, ss %#llx)", tid,
                         (unsigned long long)r->cs, (unsigned long long)r->ss);
    if ((int64_t)r->orig_rax >= 0 && thread->audit_arch != AUDIT_ARCH_X86_64)
        return lm_refuse(err, "unfit", tid, "thread %d is inside a 32-bit system call (int 0x80)", tid);
    if (r->eflags & LM_EFLAGS_TF)
        return lm_refuse(err, "unfit", tid, "thread %d single-steps itself (trap flag)", tid);
    if (cannot_suspend_seccomp && seccomp_mode(tid))
        return lm_refuse(err, "injection", tid, "thread %d runs under seccomp, which lamina cannot suspend here (it needs CAP_SYS_ADMIN, and "
                         "may not run under a filter itself)", tid);
    return 0;
}

int lm_write_thread(const lm_thread *thread, lm_error *err)
{
    struct iovec xstate = {(void *)thread->xstate, thread->xstate_size};

    if (ptrace(PTRACE_SETREGS, thread->tid, 0L, &thread->regs) < 0)
        return lm_fail(err, "ptrace(SETREGS)", thread->tid, "registers of %d", thread->tid);
    if (thread->xstate_size && ptrace(PTRACE_SETREGSET, thread->tid, (long)NT_X86_XSTATE, &xstate) < 0)
        return lm_fail(err, "ptrace(SETREGSET)", thread->tid, "extended registers of %d", thread->tid);
    if (ptrace(PTRACE_SETSIGMASK, thread->tid, (long)LM_NSIG_BYTES, &thread->sigmask) < 0)
        return lm_fail(err, "ptrace(SETSIGMASK)", thread->tid, "signal mask of %d", thread->tid);
    return 0;
}

int lm_adopt(int tid, lm_thread *thread, lm_error *err)
{
    int got;

    memset(thread, 0, offsetof(lm_thread, xstate));
    thread->tid = tid;
    got = lm_settle(tid, lm_stop_limit(), err);
    if (got > 0)
        return lm_refuse(err, "waitpid", tid, "thread %d has ended", tid);
    if (got == 0)
        thread->state = LM_STOPPED;
    return got;
}

int lm_peek_signals(int tid, int shared, uint8_t *siginfos, int room, lm_error *err)
{
    struct __ptrace_peeksiginfo_args args = {0, shared ? PTRACE_PEEKSIGINFO_SHARED : 0, room};
    long got = ptrace(PTRACE_PEEKSIGINFO, tid, &args, siginfos);

    if (got < 0)
        return lm_fail(err, "ptrace(PEEKSIGINFO)", tid, "queued signals of %d", tid);
    return (int)got;
}

#include "tracee.h"

#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arch/x86_64.h"
#include "remote.h"
#include "stops.h"

_Static_assert(sizeof(lm_regs) == LM_ARCH_REGS_BYTES, "lm_regs is user_regs_struct by another name");


uint64_t lm_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static long ptrace_options(unsigned options)
{
    long flags = PTRACE_O_TRACESYSGOOD;

    if (options & LM_OPT_EXITKILL)
        flags |= PTRACE_O_EXITKILL;
    if (options & LM_OPT_SUSPEND_SECCOMP)
        flags |= PTRACE_O_SUSPEND_SECCOMP;
    if (options & LM_OPT_TRACE_EXEC)
        flags |= PTRACE_O_TRACEEXEC;
    if (options & LM_OPT_TRACE_CLONE)
        flags |= PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    return flags;
}

int lm_seize(int tid, unsigned options, lm_error *err)
{
    if (ptrace(PTRACE_SEIZE, tid, 0L, ptrace_options(options)) == 0)
        return 0;
    /* Suspending seccomp needs CAP_SYS_ADMIN (ptrace(2)); a target without a filter does not need it. */
    if (errno == EPERM && (options & LM_OPT_SUSPEND_SECCOMP))
        return lm_seize(tid, options & ~(unsigned)LM_OPT_SUSPEND_SECCOMP, err);
    return lm_fail(err, "ptrace(SEIZE)", tid, "thread %d cannot be traced", tid);
}

int lm_detach(int tid, lm_error *err)
{
    if (ptrace(PTRACE_DETACH, tid, 0L, 0L) < 0 && errno != ESRCH)
        return lm_fail(err, "ptrace(DETACH)", tid, "thread %d cannot be let go", tid);
    return 0;
}

/* A thread in uninterruptible sleep may not stop for a long time: wait with a deadline instead of for ever. */
int lm_wait_stop(int tid, int *status, lm_error *err)
{
    uint64_t deadline = 0;
    unsigned spins = 0;

    for (;;) {
        pid_t got = waitpid(tid, status, __WALL | WNOHANG);

        if (got == tid)
            return 0;
        if (got < 0 && errno != EINTR)
            return lm_fail(err, "waitpid", tid, "thread %d cannot be waited for", tid);
        if (++spins < 100) {
            struct timespec none = {0, 1000};

            nanosleep(&none, NULL);
            continue;
        }
        if (!deadline)
            deadline = lm_now_ns() + LM_STOP_TIMEOUT_NS;
        if (lm_now_ns() > deadline)
            return lm_refuse(err, "waitpid", tid, "thread %d did not stop within %llu s: it may hang in uninterruptible sleep", tid,
                             (unsigned long long)(LM_STOP_TIMEOUT_NS / 1000000000ull));
        usleep(50);
    }
}

int lm_wait(int tid, int *status, int *event, lm_error *err)
{
    if (lm_wait_stop(tid, status, err) < 0)
        return -1;
    *event = WIFSTOPPED(*status) ? *status >> 16 : 0;
    return 0;
}

/* Wait for the stop that PTRACE_INTERRUPT asked for. Any other stop that comes first clears the request (kernel/signal.c, ptrace_stop), so
   a signal that was already dequeued is delivered as it would have been, with the interrupt asked for anew: the thread then stops before
   the first instruction of its handler. Returns 0 stopped, 1 gone, -1 failed. */
int lm_settle(int tid, lm_error *err)
{
    for (;;) {
        int status, event;

        if (lm_wait(tid, &status, &event, err) < 0)
            return -1;
        if (WIFEXITED(status) || WIFSIGNALED(status))
            return 1;
        if (event == PTRACE_EVENT_STOP)
            return 0;
        if (ptrace(PTRACE_INTERRUPT, tid, 0L, 0L) < 0 ||
            ptrace(PTRACE_CONT, tid, 0L, event ? 0L : (long)(WSTOPSIG(status) & 0x7f)) < 0) {
            if (errno == ESRCH)
                continue;
            return lm_fail(err, "ptrace(CONT)", tid, "thread %d cannot be brought to a stop", tid);
        }
    }
}

int lm_interrupt(int tid, lm_error *err)
{
    int got;

    if (ptrace(PTRACE_INTERRUPT, tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(INTERRUPT)", tid, "thread %d cannot be interrupted", tid);
    got = lm_settle(tid, err);
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
    if (syscall(SYS_get_robust_list, tid, &head, &head_size) == 0) {
        thread->robust_head = head;
        thread->robust_size = head_size;
    }
    if ((int64_t)thread->regs.orig_rax >= 0 && (int64_t)thread->regs.rax == -EINTR && restarts_by_us(thread->regs.orig_rax))
        thread->regs.rax = (uint64_t)-514; /* ERESTARTNOHAND */
    thread->state = LM_STOPPED;
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
    got = lm_settle(tid, err);
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

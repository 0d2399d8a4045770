#include "batch.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "arch/x86_64.h"
#include "remote.h"
#include "stops.h"

#define EFLAGS_PLAIN 0x202u /* interrupts on, DF and TF off */
#define EFLAGS_DF 0x400u
#define EFLAGS_OF 0x800u
#define ERESTART_RESTARTBLOCK 516
#define X32_BIT 0x40000000u
#define SIGNAL(number) (1ull << ((number) - 1))
/* What the kernel forces on a thread for what it does: blocked or ignored, it comes all the same. */
#define FORCED (SIGNAL(SIGILL) | SIGNAL(SIGTRAP) | SIGNAL(SIGBUS) | SIGNAL(SIGFPE) | SIGNAL(SIGSEGV) | SIGNAL(SIGSYS))
#define QUEUE_LOOK 8192 /* queued signals that are looked at */
/* A thread in a single call may not be left: it would go on in the wrong place. */
#define RETURN_LIMIT_NS 60000000000ull
#define LEASE_S 1 /* how long a thread that is done waits for us before it goes home by itself */

uint64_t lm_batch_overhead(void)
{
    return LM_BATCH_OVERHEAD;
}

static int set_regs(lm_thread *thread, const lm_regs *regs, lm_error *err)
{
    if (ptrace(PTRACE_SETREGS, thread->tid, 0L, regs) < 0)
        return lm_fail(err, "ptrace(SETREGS)", thread->tid, "registers of %d", thread->tid);
    return 0;
}

static int set_mask(lm_thread *thread, uint64_t mask, lm_error *err)
{
    if (ptrace(PTRACE_SETSIGMASK, thread->tid, (long)LM_NSIG_BYTES, &mask) < 0)
        return lm_fail(err, "ptrace(SETSIGMASK)", thread->tid, "signal mask of %d", thread->tid);
    return 0;
}

/* Signal numbers in a thread's own queue, or (flags) in that of its task. */
static uint64_t queued(int tid, uint32_t flags)
{
    siginfo_t infos[32];
    struct __ptrace_peeksiginfo_args args = {0, flags, 32};
    uint64_t found = 0;

    for (; args.off < QUEUE_LOOK; args.off += 32) {
        long got = ptrace(PTRACE_PEEKSIGINFO, tid, &args, infos);

        for (long i = 0; i < got; i++)
            found |= SIGNAL(infos[i].si_signo);
        if (got < 32)
            break;
    }
    return found;
}

/* Everything is blocked while calls of ours run but what the kernel forces on a thread for what it does itself. A forced signal that finds itself
   blocked resets the program's action to the default and unblocks it (kernel/signal.c, force_sig_info_to_task); open, it only stops the thread
   for us. What the program blocks and somebody has sent stays blocked: it would come first. */
static uint64_t mask_for_calls(const lm_thread *thread)
{
    uint64_t open = FORCED;

    if (thread->sigmask & open)
        open &= ~(thread->sigmask & (queued(thread->tid, 0) | queued(thread->tid, PTRACE_PEEKSIGINFO_SHARED)));
    return ~open;
}

/* A thread stopped for a signal in the middle of our calls. Returns the signal to go on with, or -1 if the kernel forced it: the call or the code
   of the batch cannot run here. */
static int other_signal(lm_thread *thread, int status, lm_error *err)
{
    int signal = WSTOPSIG(status) & 0x7f;
    siginfo_t info = {0};

    if (signal < 1 || signal > 64)
        return 0;
    if (!(FORCED & SIGNAL(signal))) {
        /* One that cannot be blocked (SIGSTOP), or the one that ends batches: kept, and sent again at the thaw. */
        thread->own_signals |= SIGNAL(signal);
        return 0;
    }
    if (ptrace(PTRACE_GETSIGINFO, thread->tid, 0L, &info) < 0 || info.si_code > 0)
        return lm_refuse(err, "injection", thread->tid, "a call made inside thread %d ended in a signal: SIG%s (code %d)", thread->tid,
                         sigabbrev_np(signal), info.si_code);
    /* Somebody sent it. The kernel puts a signal back into the queue, with all it knows of it, if it is blocked by now (ptrace_signal). */
    thread->call_mask |= SIGNAL(signal);
    if (set_mask(thread, thread->call_mask, NULL) < 0)
        thread->own_signals |= SIGNAL(signal);
    return signal;
}

static int ended(lm_thread *thread, lm_error *err)
{
    thread->state = LM_GONE;
    return lm_refuse(err, "waitpid", thread->tid, "thread %d ended inside a call", thread->tid);
}

/* Resume to the next entry or exit of a system call. */
static int resume_until_syscall_stop(lm_thread *thread, uint64_t limit, lm_error *err)
{
    int signal = 0;

    while (lm_now_ns() <= limit) {
        int status;

        if (ptrace(PTRACE_SYSCALL, thread->tid, 0L, (long)signal) < 0)
            return lm_fail(err, "ptrace(SYSCALL)", thread->tid, "thread %d cannot be continued", thread->tid);
        if (lm_wait_stop(thread->tid, &status, limit, err) < 0)
            return -1;
        if (!WIFSTOPPED(status))
            return ended(thread, err);
        if (status >> 8 == (SIGTRAP | 0x80))
            return 0;
        signal = status >> 16 ? 0 : other_signal(thread, status, err);
        if (signal < 0)
            return -1;
    }
    return lm_refuse(err, "injection", thread->tid, "a call made inside thread %d does not end", thread->tid);
}

/* Out of any stop into an event stop: only there does the kernel turn an ERESTART in rax into a restarted call. */
static int to_event_stop(lm_thread *thread, lm_error *err)
{
    int got;

    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L) < 0 || ptrace(PTRACE_CONT, thread->tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(CONT)", thread->tid, "thread %d cannot be stopped again", thread->tid);
    got = lm_settle(thread->tid, lm_stop_limit(), err);
    return got > 0 ? ended(thread, err) : got;
}

/* To the end of the call it is aimed at, and stopped in any case, unless it has ended. */
static int make_call(lm_thread *thread, lm_error *err)
{
    uint64_t limit = lm_stop_limit();
    lm_error mine = {0};
    int status;

    if (resume_until_syscall_stop(thread, limit, &mine) == 0 && resume_until_syscall_stop(thread, limit, &mine) == 0)
        return 0;
    /* Running, as in a control group that is frozen: it must stop, and be put back, before anybody may leave it. */
    if (thread->state == LM_MOVED && mine.errnum == ETIMEDOUT) {
        if (ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L) < 0 ||
            lm_wait_stop(thread->tid, &status, lm_now_ns() + RETURN_LIMIT_NS, NULL) < 0)
            return lm_refuse(err, "injection", thread->tid, "thread %d does not come back from a call", thread->tid);
        if (!WIFSTOPPED(status))
            ended(thread, NULL);
        return lm_refuse(err, "injection", thread->tid, "a call made inside thread %d does not end", thread->tid);
    }
    if (err)
        *err = mine;
    return -1;
}

int lm_step_call(lm_thread *thread, uint64_t syscall_address, const uint64_t call[7], int64_t *result, lm_error *err)
{
    static const uint8_t syscall_bytes[] = {0x0f, 0x05};
    lm_regs regs = thread->regs;
    uint8_t found[2];
    int failed;

    if (lm_may_inject(thread, err) < 0)
        return -1;
    /* It was looked up while the target ran, and an exec may have come between. */
    if (lm_peek(thread->tid, syscall_address, found, 2) < 0 || memcmp(found, syscall_bytes, 2))
        return lm_refuse(err, "syscall", thread->tid, "no `syscall` instruction at %llx any more", (unsigned long long)syscall_address);
    regs.rip = syscall_address;
    regs.orig_rax = (uint64_t)-1;
    regs.eflags = EFLAGS_PLAIN;
    regs.rax = call[0];
    regs.rdi = call[1];
    regs.rsi = call[2];
    regs.rdx = call[3];
    regs.r10 = call[4];
    regs.r8 = call[5];
    regs.r9 = call[6];
    thread->call_mask = mask_for_calls(thread);
    /* With the rest of lamina dead, from here … */
    if (set_mask(thread, thread->call_mask, err) < 0 || set_regs(thread, &regs, err) < 0)
        return -1;
    thread->state = LM_MOVED;
    failed = make_call(thread, err) < 0;
    if (thread->state == LM_GONE)
        return -1;
    if (!failed && ptrace(PTRACE_GETREGS, thread->tid, 0L, &regs) < 0)
        failed = lm_fail(err, "ptrace(GETREGS)", thread->tid, "result of a call in %d", thread->tid) < 0;
    failed |= set_regs(thread, &thread->regs, failed ? NULL : err) < 0;
    failed |= set_mask(thread, thread->sigmask, failed ? NULL : err) < 0;
    /* … to here the thread would go on in the wrong place. */
    thread->state = LM_STOPPED;
    *result = (int64_t)regs.rax;
    failed |= to_event_stop(thread, failed ? NULL : err) < 0;
    return failed ? -1 : 0;
}

/* Where the thread goes if nobody puts it back: an interrupted call is started again, as the kernel would. */
static void go_home(struct lm_batch_control *control, const lm_thread *thread)
{
    const lm_regs *r = &thread->regs;
    uint64_t rax = r->rax, rip = r->rip;

    if ((int64_t)r->orig_rax >= 0) {
        int64_t code = -(int64_t)rax;

        if (code >= 512 && code <= 514) {
            rax = r->orig_rax;
            rip -= 2;
        } else if (code == ERESTART_RESTARTBLOCK) {
            rax = SYS_restart_syscall | (r->orig_rax & X32_BIT);
            rip -= 2;
        }
    }
    control->mask = thread->sigmask;
    control->rip = rip;
    control->direction = !!(r->eflags & EFLAGS_DF);
    control->overflow = !!(r->eflags & EFLAGS_OF);
    control->low_flags = r->eflags & 0xff;
    control->rax = rax;
    control->rbx = r->rbx;
    control->rcx = r->rcx;
    control->rdx = r->rdx;
    control->rsi = r->rsi;
    control->rdi = r->rdi;
    control->rbp = r->rbp;
    control->r8 = r->r8;
    control->r9 = r->r9;
    control->r10 = r->r10;
    control->r11 = r->r11;
    control->r12 = r->r12;
    control->r13 = r->r13;
    control->r14 = r->r14;
    control->r15 = r->r15;
}

int lm_batch_start(lm_thread *thread, int tgid, int signal, uint64_t page, uint64_t page_size, const lm_call *calls, int count,
                   const uint8_t *data, uint64_t data_size, lm_error *err)
{
    struct lm_batch_control control = {0};
    size_t code_size = (size_t)(lm_batch_blob_end - lm_batch_blob) - sizeof control;
    struct iovec local[4], remote = {(void *)(uintptr_t)page, 0};
    static const uint8_t padding[LM_BATCH_OVERHEAD];
    lm_regs regs = thread->regs;
    size_t total = LM_BATCH_OVERHEAD + (size_t)count * sizeof *calls + data_size;
    int parts = 0;

    if (lm_may_inject(thread, err) < 0)
        return -1;
    if (count < 0 || total > page_size)
        return lm_refuse(err, "batch", thread->tid, "a batch of %d calls and %llu bytes does not fit %llu", count,
                         (unsigned long long)data_size, (unsigned long long)page_size);
    control.count = (uint64_t)count;
    control.records = page + LM_BATCH_OVERHEAD;
    control.tgid = (uint64_t)tgid;
    control.tid = (uint64_t)thread->tid;
    control.signal = (uint64_t)signal;
    control.lease[0] = LEASE_S;
    go_home(&control, thread);

    local[parts++] = (struct iovec){&control, sizeof control};
    local[parts++] = (struct iovec){(void *)(uintptr_t)(lm_batch_blob + sizeof control), code_size};
    local[parts++] = (struct iovec){(void *)(uintptr_t)padding, LM_BATCH_OVERHEAD - sizeof control - code_size};
    local[parts++] = (struct iovec){(void *)(uintptr_t)calls, (size_t)count * sizeof *calls};
    remote.iov_len = total - data_size;
    if (process_vm_writev(thread->tid, local, (unsigned long)parts, &remote, 1, 0) != (ssize_t)remote.iov_len ||
        (data_size && lm_poke(thread->tid, page + remote.iov_len, data, data_size) < 0))
        return lm_fail(err, "process_vm_writev", thread->tid, "the batch cannot be written to %llx", (unsigned long long)page);

    regs.rip = page + sizeof control;
    regs.orig_rax = (uint64_t)-1;
    regs.eflags = EFLAGS_PLAIN;
    /* Registers before mask: if we die between the two, the batch runs with the target's own mask and all is well; the other way round
       the target would go on with everything blocked. */
    if (set_regs(thread, &regs, err) < 0)
        return -1;
    thread->batch_page = page;
    thread->call_mask = mask_for_calls(thread) & ~(signal ? SIGNAL(signal) : 0);
    if (set_mask(thread, thread->call_mask, err) < 0)
        return -1;
    if (ptrace(PTRACE_CONT, thread->tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(CONT)", thread->tid, "thread %d cannot be continued", thread->tid);
    thread->state = LM_IN_BATCH;
    return 0;
}

static int is_done(const lm_thread *thread)
{
    uint64_t done = 0;

    return lm_peek(thread->tid, thread->batch_page, &done, sizeof done) == 0 && done == 1;
}

static int is_inside(const lm_thread *thread, lm_error *err)
{
    lm_regs regs;

    if (ptrace(PTRACE_GETREGS, thread->tid, 0L, &regs) < 0)
        return lm_fail(err, "ptrace(GETREGS)", thread->tid, "end of a batch in %d", thread->tid);
    return regs.rip - thread->batch_page < LM_BATCH_OVERHEAD;
}

/* A thread in a batch is stopped: put it where it was. One that has gone home by itself is left where it is. */
static int bring_home(lm_thread *thread, lm_error *err)
{
    int inside = is_inside(thread, err);

    if (inside < 0)
        return -1;
    if (!inside) {
        thread->batch_page = 0;
        if (lm_read_thread(thread, err) < 0)
            return -1;
        return lm_refuse(err, "batch", thread->tid, "thread %d waited %d s for lamina in a batch and went on by itself: this machine is too busy",
                         thread->tid, LEASE_S);
    }
    /* Mask before registers, for the same reason as at the start. */
    if (set_mask(thread, thread->sigmask, err) < 0 || set_regs(thread, &thread->regs, err) < 0)
        return -1;
    thread->state = LM_STOPPED;
    return 0;
}

int lm_batch_recall(lm_thread *thread, lm_error *err)
{
    uint64_t limit = lm_stop_limit();

    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(INTERRUPT)", thread->tid, "thread %d cannot be interrupted in a batch", thread->tid);
    for (;;) {
        int status;

        if (lm_wait_stop(thread->tid, &status, limit, err) < 0) {
            /* It finishes the batch and goes home by itself once nobody traces it. */
            lm_late_add(thread->tid);
            thread->state = LM_LATE;
            return -1;
        }
        if (!WIFSTOPPED(status))
            return ended(thread, err);
        if (!(status >> 16))
            other_signal(thread, status, NULL);
        return bring_home(thread, err);
    }
}

/* 1: at the end of the batch; 0: another stop, to go on from with *signal_back; -1: failed. */
static int at_end(lm_thread *thread, int status, int signal, int interrupted, int *signal_back, lm_error *err)
{
    int event = status >> 16, inside;

    *signal_back = 0;
    if (signal ? !event && WSTOPSIG(status) == signal : interrupted && event == PTRACE_EVENT_STOP) {
        inside = is_inside(thread, err);
        if (inside < 0)
            return -1;
        /* Outside: it did not wait any longer, which `bring_home` says. */
        if (!inside || is_done(thread))
            return 1;
        /* Anybody else's `signal` means nothing to a thread that neither handles nor blocks it; else it is sent again later. */
        if (signal && !(thread->sigmask & SIGNAL(signal)))
            return 0;
    }
    if (event)
        return 0;
    *signal_back = other_signal(thread, status, err);
    return *signal_back < 0 ? -1 : 0;
}

/* Wait for the end, and leave the thread stopped there. Returns 0, or -1 with the thread stopped anywhere in the batch, gone or late. */
static int wait_for_end(lm_thread *thread, int signal, uint64_t limit_ns, lm_error *err)
{
    uint64_t limit = lm_now_ns() + limit_ns;
    int interrupted = 0, status, signal_back;
    unsigned looks = 0;

    for (;;) {
        int got = lm_look(thread->tid, &status, err);

        if (got < 0)
            return -1;
        if (got == 0) {
            uint64_t now = lm_now_ns();

            if (!signal && !interrupted && is_done(thread)) {
                interrupted = 1;
                ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L);
            } else if (now > limit && (now > limit + LM_LOADED_LIMIT_NS || lm_state_of(thread->tid) != 'R')) {
                return lm_refuse(err, "batch", thread->tid, "a call made inside thread %d does not end", thread->tid);
            } else {
                lm_pause_between_looks(&looks);
            }
            continue;
        }
        if (!WIFSTOPPED(status))
            return ended(thread, err);
        got = at_end(thread, status, signal, interrupted, &signal_back, err);
        if (got)
            return got < 0 ? -1 : 0;
        if (lm_now_ns() > limit)
            return lm_refuse(err, "batch", thread->tid, "thread %d gets one signal after the other in a batch", thread->tid);
        /* A stop for something else has cleared the request (see lm_settle). */
        if (interrupted)
            ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L);
        if (ptrace(PTRACE_CONT, thread->tid, 0L, (long)signal_back) < 0)
            return lm_fail(err, "ptrace(CONT)", thread->tid, "thread %d cannot be continued", thread->tid);
    }
}

int lm_batch_wait(lm_thread *thread, int signal, lm_call *calls, int count, uint8_t *data, uint64_t data_size, uint64_t limit_ns,
                  lm_error *err)
{
    uint64_t records = thread->batch_page + LM_BATCH_OVERHEAD;
    int failed;

    if (thread->state != LM_IN_BATCH)
        return lm_refuse(err, "batch", thread->tid, "thread %d runs no batch", thread->tid);
    if (wait_for_end(thread, signal, limit_ns, err) < 0) {
        /* Stopped for a signal, it is put back as it stands; running, it is stopped first. */
        if (thread->state == LM_IN_BATCH && bring_home(thread, NULL) < 0)
            lm_batch_recall(thread, NULL);
        return -1;
    }
    failed = (count && lm_peek(thread->tid, records, calls, (size_t)count * sizeof *calls) < 0) ||
             (data_size && lm_peek(thread->tid, records + (size_t)count * sizeof *calls, data, data_size) < 0);
    if (failed)
        lm_fail(err, "process_vm_readv", thread->tid, "results of a batch in %d", thread->tid);
    return bring_home(thread, failed ? NULL : err) < 0 || failed ? -1 : 0;
}

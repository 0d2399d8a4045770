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

/* A signal that cannot be blocked (SIGSTOP) came while we work: it is kept and sent again at the thaw. */
static void keep_signal(lm_thread *thread, int signal)
{
    if (signal > 0 && signal <= 64)
        thread->own_signals |= 1ull << (signal - 1);
}

/* Resume to the next entry or exit of a system call; other stops are kept for later. */
static int resume_until_syscall_stop(lm_thread *thread, lm_error *err)
{
    for (;;) {
        int status, event;

        if (ptrace(PTRACE_SYSCALL, thread->tid, 0L, 0L) < 0)
            return lm_fail(err, "ptrace(SYSCALL)", thread->tid, "thread %d cannot be continued", thread->tid);
        if (lm_wait(thread->tid, &status, &event, err) < 0)
            return -1;
        if (!WIFSTOPPED(status)) {
            thread->state = LM_GONE;
            return lm_refuse(err, "waitpid", thread->tid, "thread %d ended inside a call", thread->tid);
        }
        if (WSTOPSIG(status) == (SIGTRAP | 0x80))
            return 0;
        if (!event)
            keep_signal(thread, WSTOPSIG(status));
    }
}

/* From a syscall-exit stop to an ordinary one: only there does the kernel turn an ERESTART in rax into a restarted call. */
static int to_event_stop(lm_thread *thread, lm_error *err)
{
    return lm_interrupt(thread->tid, err);
}

int lm_step_call(lm_thread *thread, uint64_t syscall_address, const uint64_t call[7], int64_t *result, lm_error *err)
{
    static const uint8_t syscall_bytes[] = {0x0f, 0x05};
    lm_regs regs = thread->regs;
    uint8_t found[2];
    int failed;

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
    /* With the rest of lamina dead, from here … */
    if (set_mask(thread, ~0ull, err) < 0 || set_regs(thread, &regs, err) < 0)
        return -1;
    thread->state = LM_MOVED;
    failed = resume_until_syscall_stop(thread, err) < 0 || resume_until_syscall_stop(thread, err) < 0;
    if (thread->state == LM_GONE)
        return -1;
    if (!failed && ptrace(PTRACE_GETREGS, thread->tid, 0L, &regs) < 0)
        failed = lm_fail(err, "ptrace(GETREGS)", thread->tid, "result of a call in %d", thread->tid) < 0;
    failed |= set_regs(thread, &thread->regs, failed ? NULL : err) < 0;
    failed |= set_mask(thread, thread->sigmask, failed ? NULL : err) < 0;
    /* … to here the thread would go on in the wrong place. */
    thread->state = LM_STOPPED;
    *result = (int64_t)regs.rax;
    if (ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L) < 0 || ptrace(PTRACE_CONT, thread->tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(CONT)", thread->tid, "thread %d cannot be stopped again", thread->tid);
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
            rax = SYS_restart_syscall;
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

    if (count < 0 || total > page_size)
        return lm_refuse(err, "batch", thread->tid, "a batch of %d calls and %llu bytes does not fit %llu", count,
                         (unsigned long long)data_size, (unsigned long long)page_size);
    control.count = (uint64_t)count;
    control.records = page + LM_BATCH_OVERHEAD;
    control.tgid = (uint64_t)tgid;
    control.tid = (uint64_t)thread->tid;
    control.signal = (uint64_t)signal;
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
    if (set_mask(thread, ~(1ull << (signal - 1)), err) < 0)
        return -1;
    if (ptrace(PTRACE_CONT, thread->tid, 0L, 0L) < 0)
        return lm_fail(err, "ptrace(CONT)", thread->tid, "thread %d cannot be continued", thread->tid);
    thread->state = LM_IN_BATCH;
    return 0;
}

/* 1: at the end of the batch; 0: another stop; -1: failed. */
static int at_end(lm_thread *thread, int status, int event, int signal, lm_error *err)
{
    uint64_t done = 0;
    lm_regs regs;

    if (event || WSTOPSIG(status) != signal)
        return 0;
    if (ptrace(PTRACE_GETREGS, thread->tid, 0L, &regs) < 0 || lm_peek(thread->tid, thread->batch_page, &done, sizeof done) < 0)
        return lm_fail(err, "ptrace(GETREGS)", thread->tid, "end of a batch in %d", thread->tid);
    return done == 1 && regs.rip - thread->batch_page < LM_BATCH_OVERHEAD;
}

int lm_batch_wait(lm_thread *thread, int signal, lm_call *calls, int count, uint8_t *data, uint64_t data_size, lm_error *err)
{
    uint64_t records = thread->batch_page + LM_BATCH_OVERHEAD;
    int end;

    if (thread->state != LM_IN_BATCH)
        return lm_refuse(err, "batch", thread->tid, "thread %d runs no batch", thread->tid);
    for (;;) {
        int status, event;

        if (lm_wait(thread->tid, &status, &event, err) < 0)
            return -1;
        if (!WIFSTOPPED(status)) {
            thread->state = LM_GONE;
            return lm_refuse(err, "waitpid", thread->tid, "thread %d ended inside a batch", thread->tid);
        }
        end = at_end(thread, status, event, signal, err);
        if (end)
            break;
        if (!event && (WSTOPSIG(status) == SIGSEGV || WSTOPSIG(status) == SIGBUS || WSTOPSIG(status) == SIGILL)) {
            end = lm_refuse(err, "batch", thread->tid, "a batch in thread %d faulted (signal %d)", thread->tid, WSTOPSIG(status));
            break;
        }
        /* Anybody else's `signal` means nothing to a thread that neither handles nor blocks it; the rest is sent again later. */
        if (!event && (WSTOPSIG(status) != signal || thread->sigmask >> (signal - 1) & 1))
            keep_signal(thread, WSTOPSIG(status));
        if (ptrace(PTRACE_CONT, thread->tid, 0L, 0L) < 0)
            return lm_fail(err, "ptrace(CONT)", thread->tid, "thread %d cannot be continued", thread->tid);
    }
    if (end > 0 && ((count && lm_peek(thread->tid, records, calls, (size_t)count * sizeof *calls) < 0) ||
                    (data_size && lm_peek(thread->tid, records + (size_t)count * sizeof *calls, data, data_size) < 0)))
        end = lm_fail(err, "process_vm_readv", thread->tid, "results of a batch in %d", thread->tid);
    /* Mask before registers, for the same reason as at the start. */
    if (set_mask(thread, thread->sigmask, end < 0 ? NULL : err) < 0 || set_regs(thread, &thread->regs, end < 0 ? NULL : err) < 0)
        end = -1;
    thread->state = LM_STOPPED;
    return end < 0 ? -1 : 0;
}

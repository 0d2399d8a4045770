#include "freeze.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch.h"
#include "remote.h"
#include "stops.h"

/* A killed process gives back its memory before it ends: seconds for very much of it. */
#define END_LIMIT_NS 30000000000ull

/* A thread that has just ended answers EPERM to a seize (kernel/ptrace.c, ptrace_attach: exit_state), or ESRCH once it is gone. */
static int has_ended(int pid, int tid, int errnum)
{
    char state;

    if (errnum == ESRCH)
        return 1;
    state = lm_state_of(tid);
    return tid != pid && (state == 0 || state == 'Z' || state == 'X');
}

/* Seize and interrupt every thread that /proc shows and we do not hold yet. Returns how many were added, -1 on failure. */
static int seize_new(int pid, lm_thread *threads, int *held, int room, uint64_t *frozen_ns, lm_error *err)
{
    char path[64];
    struct dirent *entry;
    int added = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    dir = opendir(path);
    if (!dir)
        return lm_fail(err, "open", pid, "%s", path);
    while (added >= 0 && (entry = readdir(dir))) {
        int tid = atoi(entry->d_name);
        int known = tid <= 0;

        for (int i = 0; i < *held && !known; i++)
            known = threads[i].tid == tid;
        if (known)
            continue;
        if (*held == room) {
            errno = ENOSPC;
            added = lm_fail(err, "freeze", room * 2, "more than %d threads", room);
            break;
        }
        if (lm_seize(tid, 0, err) < 0) {
            if (has_ended(pid, tid, err->errnum))
                continue;
            added = -1;
            break;
        }
        if (!*frozen_ns)
            *frozen_ns = lm_now_ns();
        memset(&threads[*held], 0, offsetof(lm_thread, xstate));
        threads[*held].tid = tid;
        threads[*held].state = LM_SEIZED;
        *held += 1;
        ptrace(PTRACE_INTERRUPT, tid, 0L, 0L);
        added++;
    }
    closedir(dir);
    return added;
}

/* Drop threads that ended while we stopped the others; the leader first, the rest ascending. */
static int by_leader(const void *a, const void *b, void *pid)
{
    int x = ((const lm_thread *)a)->tid, y = ((const lm_thread *)b)->tid, leader = *(int *)pid;

    if (x == leader || y == leader)
        return (y == leader) - (x == leader);
    return (x > y) - (x < y);
}

/* The freeze failed: those that stopped go on at once, those that did not as soon as they do (cdef/stops.h). */
static void let_go(lm_thread *threads, int held)
{
    for (int i = 0; i < held; i++)
        if (threads[i].state == LM_STOPPED)
            lm_detach(threads[i].tid, NULL);
        else if (threads[i].state == LM_SEIZED)
            lm_late_add(threads[i].tid);
    lm_late_threads(); /* most have stopped by now */
}

int lm_freeze_task(int pid, lm_thread *threads, int *count, uint64_t limit, uint64_t *frozen_ns, lm_error *err)
{
    int held = 0, room = *count, alive = 0, settled = 0, failed = 0;

    *frozen_ns = 0;
    do {
        int added = seize_new(pid, threads, &held, room, frozen_ns, err);

        if (added < 0) {
            failed = 1;
            break;
        }
        if (added == 0)
            break;
        for (; settled < held && !failed; settled++) {
            int got = lm_settle(threads[settled].tid, limit, err);

            if (got < 0)
                failed = 1;
            else
                threads[settled].state = got ? LM_GONE : LM_STOPPED;
        }
    } while (!failed);
    for (int i = 0; i < held && !failed; i++)
        if (threads[i].state == LM_STOPPED) {
            if (i != alive)
                memcpy(&threads[alive], &threads[i], sizeof *threads);
            failed = lm_read_thread(&threads[alive], err) < 0;
            alive++;
        }
    if (!failed && alive == 0) {
        errno = ESRCH;
        failed = lm_fail(err, "freeze", pid, "process %d has ended", pid);
    }
    if (failed) {
        let_go(threads, held);
        return -1;
    }
    qsort_r(threads, (size_t)alive, sizeof *threads, by_leader, &pid);
    *count = alive;
    return 0;
}

int lm_thaw_task(lm_thread *threads, int count, lm_error *err)
{
    int result = 0;

    for (int i = 0; i < count; i++) {
        lm_thread *thread = &threads[i];
        int failed = 0;

        if (thread->state == LM_IN_BATCH && lm_batch_recall(thread, result == 0 ? err : NULL) < 0)
            result = -1;
        if (thread->state != LM_STOPPED)
            continue;
        /* A mask is written only where a batch changed it: for a thread in ppoll(2) the kernel keeps two masks. */
        if (thread->batch_page)
            failed = ptrace(PTRACE_SETSIGMASK, thread->tid, (long)LM_NSIG_BYTES, &thread->sigmask) < 0;
        failed |= ptrace(PTRACE_SETREGS, thread->tid, 0L, &thread->regs) < 0;
        if (failed && errno != ESRCH && result == 0)
            result = lm_fail(err, "ptrace(SETREGS)", thread->tid, "thread %d got not all of its registers back", thread->tid);
    }
    for (int i = 0; i < count; i++) {
        lm_thread *thread = &threads[i];
        lm_error here = {0};

        if (thread->state == LM_GONE || thread->state == LM_LATE)
            continue;
        for (int sig = 1; sig <= 64; sig++)
            if (thread->own_signals >> (sig - 1) & 1)
                syscall(SYS_tkill, thread->tid, sig);
        if (lm_detach(thread->tid, &here) < 0 && result == 0) {
            *err = here;
            result = -1;
        }
        thread->state = LM_GONE;
    }
    return result;
}

int lm_kill_task(int pid, lm_thread *threads, int count, lm_error *err)
{
    uint64_t limit = lm_now_ns() + END_LIMIT_NS;
    int status;

    if (kill(pid, SIGKILL) < 0 && errno != ESRCH)
        return lm_fail(err, "kill", pid, "process %d cannot be ended", pid);
    /* The leader's end is reported only after its threads were reaped: waiting for it first would last for ever. As a mere tracer we have to reap
       it, too, or its parent never hears of it. */
    for (int i = count - 1; i >= 0; i--) {
        do {
            if (lm_wait_stop(threads[i].tid, &status, limit, err) < 0) {
                if (err->errnum == ECHILD)
                    break;
                return -1;
            }
        } while (!WIFEXITED(status) && !WIFSIGNALED(status));
        threads[i].state = LM_GONE;
    }
    return 0;
}

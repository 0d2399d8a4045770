#include "grace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "remote.h"
#include "stops.h"
#include "tracee.h"

/* A stopped thread waits for us, so we look often; after a while only those are left that cannot stop yet. */
#define LOOK_NS 15000
#define LOOK_RARELY_NS 200000
#define RARELY_AFTER_NS 3000000
#define STACK_BYTES 131072

enum { RUNNING = -2, UNKNOWN = -3 };    /* what call_of says beside a call's number and -1, asleep outside any call */

struct thread {
    int pid, tid;
    enum { NEW, REFUSED, WAITED_FOR, SEEN } state;
};

struct work {
    const int32_t *pids;
    int count;
    uint64_t deadline;
    struct thread *threads;
    int held, room;
    lm_grace *grace;
    lm_error *err;
    int failed;
};

/* The system call a thread sleeps in, and its first argument (proc_pid_syscall(5)); RUNNING if it does not sleep. */
static long call_of(int pid, int tid, unsigned long *first)
{
    char path[64], text[256];
    ssize_t size = -1;
    long call;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/task/%d/syscall", pid, tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        size = read(fd, text, sizeof text - 1);
        close(fd);
    }
    if (size <= 0)
        return UNKNOWN;
    text[size] = 0;
    *first = 0;
    if (sscanf(text, "%ld %lx", &call, first) < 1)
        return RUNNING;
    return call;
}

static int is_socket(int pid, int tid, unsigned long fd)
{
    char path[96], link[16] = {0};

    snprintf(path, sizeof path, "/proc/%d/task/%d/fd/%lu", pid, tid, fd);
    return readlink(path, link, sizeof link - 1) > 0 && !strncmp(link, "socket:", 7);
}

/* Whether a thread asleep in `call` holds no pin through which its memory, or a relative's, is still to be written. Waiting for an event, for
   a lock, for a child or for a disk to take data are such calls. Whatever is not listed is not trusted. Sockets of the families whose
   recvmsg(2) pins (AF_ALG, AF_RDS) are refused by preflight. An interrupted call that has to be begun anew loses the time it has waited
   for, which is why these are left alone rather than interrupted. */
static int is_harmless(int pid, int tid, long call, unsigned long first)
{
    switch (call) {
    case -1:
    case SYS_futex: case 449 /* futex_waitv */: case 455 /* futex_wait */: case SYS_restart_syscall:
    case SYS_nanosleep: case SYS_clock_nanosleep: case SYS_pause: case SYS_rt_sigsuspend: case SYS_rt_sigtimedwait:
    case SYS_poll: case SYS_ppoll: case SYS_select: case SYS_pselect6:
    case SYS_epoll_wait: case SYS_epoll_pwait: case 441 /* epoll_pwait2 */:
    case SYS_wait4: case SYS_waitid: case SYS_fork: case SYS_vfork: case SYS_clone: case SYS_clone3:
    case SYS_semop: case SYS_semtimedop: case SYS_msgrcv: case SYS_msgsnd: case SYS_mq_timedreceive: case SYS_mq_timedsend:
    case SYS_accept: case SYS_accept4: case SYS_connect: case SYS_recvfrom: case SYS_recvmsg: case SYS_recvmmsg:
    case SYS_sendto: case SYS_sendmsg: case SYS_sendmmsg:
    case SYS_write: case SYS_writev: case SYS_pwrite64: case SYS_pwritev: case 328 /* pwritev2 */:
    case SYS_fsync: case SYS_fdatasync: case SYS_sync_file_range: case SYS_msync: case SYS_sync: case SYS_syncfs:
    case SYS_open: case SYS_openat: case SYS_close: case SYS_flock: case SYS_fcntl: case SYS_ftruncate: case SYS_fallocate:
    case SYS_rename: case SYS_renameat2: case SYS_unlink: case SYS_unlinkat:
    case SYS_mmap: case SYS_munmap: case SYS_mprotect: case SYS_mremap: case SYS_madvise: case SYS_brk:
    case SYS_exit: case SYS_exit_group:
        return 1;
    case SYS_read: case SYS_readv:
        return is_socket(pid, tid, first);
    default:
        return 0;
    }
}

static int by_tid(const void *a, const void *b)
{
    int x = ((const struct thread *)a)->tid, y = ((const struct thread *)b)->tid;

    return (x > y) - (x < y);
}

/* Add what /proc/PID/task shows and we have not seen. Returns how many were new, -1 on failure. */
static int list_new(struct work *work, int pid, int known)
{
    char path[40];
    struct dirent *entry;
    int added = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    dir = opendir(path);
    if (!dir)
        return 0;   /* it has ended */
    while (added >= 0 && (entry = readdir(dir))) {
        struct thread thread = { pid, atoi(entry->d_name), NEW };

        if (thread.tid <= 0 || (known && bsearch(&thread, work->threads, (size_t)known, sizeof thread, by_tid)))
            continue;
        if (work->held == work->room) {
            int room = work->room * 2 + 64;
            void *more = realloc(work->threads, (size_t)room * sizeof thread);

            if (!more) {
                added = lm_fail(work->err, "realloc", pid, "no memory for %d threads", room);
                break;
            }
            work->threads = more;
            work->room = room;
        }
        work->threads[work->held++] = thread;
        added++;
    }
    closedir(dir);
    return added;
}

/* Let a thread that has stopped go on. A signal that it was about to take is handed on (ptrace(2), PTRACE_DETACH). */
static void let_go(int tid, int status)
{
    int event = status >> 16, signal = event ? 0 : WSTOPSIG(status) & 0x7f;
    lm_regs regs;

    if (event == PTRACE_EVENT_STOP && ptrace(PTRACE_GETREGS, tid, 0L, &regs) == 0 && lm_begin_anew(&regs))
        ptrace(PTRACE_SETREGS, tid, 0L, &regs);
    ptrace(PTRACE_DETACH, tid, 0L, (long)signal);
}

/* Let go every thread that has stopped by now. Any stop will do: threads stop on their way back to user mode alone. */
static int take_stops(struct work *work)
{
    int taken = 0, status, tid;

    /* __WNOTHREAD: what this thread traces, and none of the children of the rest of the process. */
    while ((tid = waitpid(-1, &status, __WALL | __WNOTHREAD | WNOHANG)) > 0) {
        struct thread key = { 0, tid, NEW };
        struct thread *thread = bsearch(&key, work->threads, (size_t)work->held, sizeof key, by_tid);

        if (WIFSTOPPED(status))
            let_go(tid, status);
        if (thread && thread->state == WAITED_FOR) {
            thread->state = SEEN;
            taken++;
        }
    }
    return taken;
}

/* Returns 1 if there is something to wait for. */
static int begin(struct work *work, struct thread *thread)
{
    unsigned long first;
    long call = call_of(thread->pid, thread->tid, &first);

    thread->state = SEEN;
    if (call != UNKNOWN && is_harmless(thread->pid, thread->tid, call, first))
        return 0;
    if (lm_seize(thread->tid, 0, NULL) < 0) {
        /* One that has ended holds nothing. One that ends just now, or that somebody else traces, is asked again. */
        if (call_of(thread->pid, thread->tid, &first) == UNKNOWN)
            return 0;
        thread->state = REFUSED;
        return 1;
    }
    work->grace->interrupted++;
    thread->state = WAITED_FOR;
    ptrace(PTRACE_INTERRUPT, thread->tid, 0L, 0L);
    return 1;
}

/* Those that could not be traced. Returns how many need not be waited for any more. */
static int begin_again(struct work *work)
{
    int done = 0;

    for (int i = 0; i < work->held; i++)
        if (work->threads[i].state == REFUSED)
            done += !begin(work, &work->threads[i]);
    return done;
}

static void tell_late(struct work *work)
{
    unsigned long first;

    for (int i = 0; i < work->held; i++)
        if (work->threads[i].state == WAITED_FOR || work->threads[i].state == REFUSED) {
            work->grace->late++;
            work->grace->late_tid = work->threads[i].tid;
            work->grace->late_call = call_of(work->threads[i].pid, work->threads[i].tid, &first);
        }
}

static int pass(struct work *work)
{
    int known = work->held, added = 0;

    for (int i = 0; i < work->count; i++) {
        int got = list_new(work, work->pids[i], known);

        if (got < 0)
            return -1;
        added += got;
    }
    qsort(work->threads, (size_t)work->held, sizeof *work->threads, by_tid);
    return added;
}

static int run(struct work *work)
{
    uint64_t began = lm_now_ns(), now;
    int waiting = 0, added;

    /* A thread that is born from here on pins nothing that was protected before. It is those that a list leaves out because another
       ended meanwhile that we look again for. */
    while ((added = pass(work)) > 0)
        for (int i = 0; i < work->held; i++)
            if (work->threads[i].state == NEW) {
                work->grace->threads++;
                waiting += begin(work, &work->threads[i]);
                waiting -= take_stops(work);
            }
    if (added < 0)
        return -1;
    while (waiting > 0 && (now = lm_now_ns()) < work->deadline) {
        struct timespec look = { 0, now - began < RARELY_AFTER_NS ? LOOK_NS : LOOK_RARELY_NS };

        nanosleep(&look, NULL);
        waiting -= take_stops(work);
        waiting -= begin_again(work);
    }
    tell_late(work);
    return 0;
}

/* A thread of its own: when it ends, the kernel lets go of all it traces, those included that were asked to stop and have not yet
   (kernel/ptrace.c, exit_ptrace and __ptrace_unlink). So nobody ever stands still for a late thread's sake, or because of us afterwards. */
static void *tracer(void *arg)
{
    struct work *work = arg;

    prctl(PR_SET_TIMERSLACK, 1UL);
    work->failed = run(work) < 0;
    return NULL;
}

int lm_grace_period(const int32_t *pids, int count, uint64_t patience_ns, lm_grace *grace, lm_error *err)
{
    struct work work = { .pids = pids, .count = count, .deadline = lm_now_ns() + patience_ns, .grace = grace, .err = err };
    sigset_t all, before;
    pthread_attr_t attr;
    pthread_t thread;
    int failed;

    memset(grace, 0, sizeof *grace);
    grace->late_call = -1;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, &attr, tracer, &work);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (failed) {
        errno = failed;
        return lm_fail(err, "pthread_create", 0, "no thread can be started");
    }
    pthread_join(thread, NULL);
    free(work.threads);
    return work.failed ? -1 : 0;
}

#include "stops.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "remote.h"

enum { BUSY_LOOKS = 40, SHORT_NAPS = 100, LATE_MAX = 4096 };

uint64_t lm_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* State letter and parent of a thread, from its stat file; 0 if there is none. One that is no leader has such a file, too. */
static char stat_of(int tid, int *parent)
{
    char path[64], text[512], *tail, state = 0;
    ssize_t got;
    int fd;

    snprintf(path, sizeof path, "/proc/%d/stat", tid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    got = read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return 0;
    text[got] = 0;
    tail = strrchr(text, ')');
    return tail && sscanf(tail + 1, " %c %d", &state, parent) == 2 ? state : 0;
}

char lm_state_of(int tid)
{
    int parent;

    return stat_of(tid, &parent);
}

/* A child of this process, no mere thread of one: whoever started it wants to reap it. */
static int is_own_child(int tid)
{
    int parent;

    return stat_of(tid, &parent) && parent == getpid() && syscall(SYS_tgkill, tid, tid, 0) == 0;
}

int lm_look(int tid, int *status, lm_error *err)
{
    siginfo_t info = {0};
    pid_t got = 0;

    if (waitid(P_PID, (id_t)tid, &info, WSTOPPED | WEXITED | WNOWAIT | WNOHANG | __WALL) < 0 && errno != EINTR)
        return lm_fail(err, "waitid", tid, "thread %d cannot be waited for", tid);
    if (info.si_pid != tid)
        return 0;
    if (info.si_code != CLD_TRAPPED && info.si_code != CLD_STOPPED && is_own_child(tid)) {
        *status = info.si_code == CLD_EXITED ? (info.si_status & 255) << 8 : info.si_status;
        return 1;
    }
    do
        got = waitpid(tid, status, __WALL | WNOHANG);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return lm_fail(err, "waitpid", tid, "thread %d cannot be waited for", tid);
    return got == tid;
}

/* A stop takes some 10 µs. A sleep of 1 µs takes 50 (the timer slack), so the first looks only offer the processor to others. */
void lm_pause_between_looks(unsigned *looks)
{
    struct timespec nap = {0, *looks < BUSY_LOOKS + SHORT_NAPS ? 1000 : 50000};

    if ((*looks)++ < BUSY_LOOKS)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

int lm_wait_stop(int tid, int *status, uint64_t limit, lm_error *err)
{
    unsigned looks = 0;

    for (;;) {
        int got = lm_look(tid, status, err);
        uint64_t now;

        if (got)
            return got < 0 ? -1 : 0;
        now = lm_now_ns();
        if (now > limit) {
            char state = lm_state_of(tid);

            if (state != 'R' || now > limit + LM_LOADED_LIMIT_NS) {
                errno = ETIMEDOUT;
                return lm_fail(err, "waitpid", tid, "thread %d does not stop: it %s", tid,
                               state == 'D' ? "hangs in uninterruptible sleep (state D)" : "did not come in time");
            }
        }
        lm_pause_between_looks(&looks);
    }
}

/* Any other stop that comes first clears the request (kernel/signal.c, ptrace_stop), so a signal that was already dequeued is delivered as it
   would have been, with the interrupt asked for anew: the thread then stops before the first instruction of its handler. */
int lm_settle(int tid, uint64_t limit, lm_error *err)
{
    for (;;) {
        int status, event;

        if (lm_wait_stop(tid, &status, limit, err) < 0)
            return -1;
        if (!WIFSTOPPED(status))
            return 1;
        event = status >> 16;
        if (event == PTRACE_EVENT_STOP)
            return 0;
        if (ptrace(PTRACE_INTERRUPT, tid, 0L, 0L) < 0 ||
            ptrace(PTRACE_CONT, tid, 0L, event ? 0L : (long)(WSTOPSIG(status) & 0x7f)) < 0) {
            if (errno == ESRCH) /* killed: its end is the next thing to be seen */
                continue;
            return lm_fail(err, "ptrace(CONT)", tid, "thread %d cannot be brought to a stop", tid);
        }
        if (lm_now_ns() > limit + LM_LOADED_LIMIT_NS)
            return lm_refuse(err, "waitpid", tid, "thread %d gets one signal after the other and does not come to a stop", tid);
    }
}

static __thread int late[LATE_MAX];
static __thread int late_count;

uint64_t lm_stop_limit(void)
{
    return lm_now_ns() + (late_count ? LM_AGAIN_NS : LM_STOP_LIMIT_NS);
}

void lm_late_add(int tid)
{
    /* One that finds no room is let go like the others, when this thread ends. */
    if (late_count < LATE_MAX)
        late[late_count++] = tid;
}

int lm_late_take(int tid)
{
    for (int i = 0; i < late_count; i++)
        if (late[i] == tid && ptrace(PTRACE_INTERRUPT, tid, 0L, 0L) == 0) {
            late[i] = late[--late_count];
            return 1;
        }
    return 0;
}

int lm_late_threads(void)
{
    for (int i = late_count - 1; i >= 0; i--) {
        int status, got = lm_look(late[i], &status, NULL);

        if (got == 0)
            continue;
        /* A signal that it stopped for is its own: handed on. */
        if (got > 0 && WIFSTOPPED(status) &&
            ptrace(PTRACE_DETACH, late[i], 0L, status >> 16 ? 0L : (long)(WSTOPSIG(status) & 0x7f)) < 0 && errno == ESRCH)
            continue; /* killed just now */
        late[i] = late[--late_count];
    }
    return late_count;
}

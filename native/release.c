#include "release.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rawclone.h"

enum { STACK_BYTES = 16384 };

struct guardian {
    long pid;
    int pipe[2];
    int count;
    uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
    int pidfds[];
};

static void stand_by(void *own)
{
    struct guardian *g = own;
    char byte;
    long got;

    /* A session of its own: nothing sent to lamina's group or terminal reaches it. */
    lm_raw(SYS_setsid, 0, 0, 0, 0);
    lm_raw(SYS_close, g->pipe[1], 0, 0, 0);
    do {
        got = lm_raw(SYS_read, g->pipe[0], (long)&byte, 1, 0);
    } while (got == -EINTR);
    if (got != 1)
        for (int i = 0; i < g->count; i++)
            lm_raw(SYS_pidfd_send_signal, g->pidfds[i], SIGKILL, 0, 0);
    for (;;)
        lm_raw(SYS_exit_group, 0, 0, 0, 0);
}

static size_t size_of(int count)
{
    return sizeof(struct guardian) + (size_t)count * sizeof(int);
}

/* The end of the guardian: told to stay quiet, or (quiet = 0) to kill. Safe to call on one that is half made. */
static void dismiss(struct guardian *g, int quiet)
{
    if (quiet && write(g->pipe[1], "", 1) != 1)
        errno = 0; /* it has been killed: nobody stands by, and nobody will kill */
    close(g->pipe[1]);
    if (g->pid > 0)
        while (waitpid((pid_t)g->pid, NULL, __WALL) < 0 && errno == EINTR)
            ;
    close(g->pipe[0]);
    for (int i = 0; i < g->count; i++)
        close(g->pidfds[i]);
    munmap(g, size_of(g->count));
}

static struct guardian *post(const int *pids, int count, lm_error *err)
{
    struct guardian *g = mmap(NULL, size_of(count), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct clone_args args = {.flags = CLONE_VM, .stack_size = STACK_BYTES};
    uint64_t all = ~0ULL, before;

    if (g == MAP_FAILED) {
        lm_fail(err, "mmap", 0, "no memory for a guardian");
        return NULL;
    }
    if (pipe2(g->pipe, O_CLOEXEC) < 0) {
        lm_fail(err, "pipe2", 0, "no pipe to a guardian");
        munmap(g, size_of(count));
        return NULL;
    }
    for (; g->count < count; g->count++) {
        g->pidfds[g->count] = (int)syscall(SYS_pidfd_open, pids[g->count], 0);
        if (g->pidfds[g->count] < 0) {
            lm_fail(err, "pidfd_open", pids[g->count], "process %d has gone", pids[g->count]);
            dismiss(g, 1);
            return NULL;
        }
    }
    args.stack = (uintptr_t)g->stack;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    g->pid = lm_clone_into(&args, stand_by, g);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    if (g->pid < 0) {
        errno = (int)-g->pid;
        lm_fail(err, "clone3", 0, "no guardian can be started");
        dismiss(g, 1);
        return NULL;
    }
    return g;
}

int lm_release_all(const int *tids, const uint64_t *signals, int count, const int *pids, int process_count, lm_error *err)
{
    struct guardian *guardian = post(pids, process_count, err);
    int result = 0;

    if (!guardian)
        return -1;
    for (int i = 0; i < count; i++) {
        for (int number = 1; number <= 64; number++)
            if (signals[i] >> (number - 1) & 1)
                syscall(SYS_tkill, tids[i], number);
        if (ptrace(PTRACE_SETOPTIONS, tids[i], 0, 0) < 0) {
            lm_fail(err, "ptrace(SETOPTIONS)", tids[i], "thread %d would die with us", tids[i]);
            dismiss(guardian, 0);
            return -1;
        }
    }
    dismiss(guardian, 1); /* the switch */
    for (int i = 0; i < count; i++)
        if (ptrace(PTRACE_DETACH, tids[i], 0, 0) < 0 && result == 0)
            result = lm_fail(err, "ptrace(DETACH)", tids[i], "thread %d cannot be let go", tids[i]);
    return result;
}

#include "standin.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "rawclone.h"

#define STACK_BYTES 16384

static void end(void *own)
{
    (void)own;
    lm_raw(SYS_exit_group, 0, 0, 0, 0);
}

int lm_stand_in(int pid, lm_error *err)
{
    pid_t wanted = pid;
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_FILES,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = STACK_BYTES,
        .set_tid = (uint64_t)(uintptr_t)&wanted,
        .set_tid_size = 1,
    };
    sigset_t all, before;
    long got;

    if (stack == MAP_FAILED)
        return lm_fail(err, "mmap", pid, "no memory for a process");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    got = lm_clone_into(&args, end, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    /* It has ended, or was never there. */
    munmap(stack, STACK_BYTES);
    if (got < 0) {
        errno = (int)-got;
        return lm_fail(err, "clone3", pid, "no process of that number can be made");
    }
    return 0;
}

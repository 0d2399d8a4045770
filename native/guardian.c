#include "guardian.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "batch.h"
#include "freeze.h"
#include "tracee.h"

#define STACK_BYTES 131072

struct job {
    int tid, failed, count;
    uint64_t syscall_address, calls[LM_GUARDED_MAX][7];
    int8_t first[LM_GUARDED_MAX];
    int64_t results[LM_GUARDED_MAX];
    lm_thread thread;
    lm_error err;
};

static int make_calls(struct job *job)
{
    for (int n = 0; n < job->count; n++) {
        if (job->first[n] >= 0)
            job->calls[n][1] = (uint64_t)job->results[job->first[n]];
        if (lm_step_call(&job->thread, job->syscall_address, job->calls[n], &job->results[n], &job->err) < 0)
            return -1;
        if (job->results[n] < 0 && job->results[n] >= -4095)
            break;
    }
    return 0;
}

static int work(struct job *job)
{
    lm_thread *thread = &job->thread;
    int failed;

    if (lm_seize(job->tid, 0, &job->err) < 0)
        return -1;
    thread->tid = job->tid;
    thread->state = LM_SEIZED;
    if (lm_interrupt(job->tid, &job->err) < 0) {
        lm_detach(job->tid, NULL);
        return -1;
    }
    failed = lm_read_thread(thread, &job->err) < 0 || make_calls(job) < 0;
    return lm_thaw_task(thread, 1, failed ? NULL : &job->err) < 0 || failed ? -1 : 0;
}

struct apart {
    void (*work)(void *);
    void *own;
};

/* A session of its own, so that nothing sent to lamina's terminal or group reaches it. */
static int begin(void *arg)
{
    struct apart *apart = arg;

    setsid();
    apart->work(apart->own);
    return 0;
}

int lm_apart(void (*work)(void *), void *own, int shares, lm_error *err)
{
    struct apart apart = {work, own};
    char *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    sigset_t all, before;
    int pid, got;

    if (stack == MAP_FAILED)
        return lm_fail(err, "mmap", 0, "no memory for a guardian");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    /* Exit signal 0: nobody's SIGCHLD handler hears of it. */
    pid = clone(begin, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | shares, &apart);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        lm_fail(err, "clone", 0, "no guardian can be started");
    else
        do
            got = waitpid(pid, NULL, __WALL);
        while (got < 0 && errno == EINTR);
    munmap(stack, STACK_BYTES);
    return pid < 0 ? -1 : 0;
}

static void guardian(void *own)
{
    struct job *job = own;

    job->failed = work(job) < 0;
}

int lm_guarded_calls(int tid, uint64_t syscall_address, const uint64_t *calls, const int8_t *first, int count, int64_t *results,
                     lm_error *err)
{
    struct job *job = calloc(1, sizeof *job);
    int failed;

    if (!job)
        return lm_fail(err, "calloc", tid, "no memory for a guardian");
    job->tid = tid;
    job->syscall_address = syscall_address;
    job->count = count < LM_GUARDED_MAX ? count : LM_GUARDED_MAX;
    memcpy(job->calls, calls, (size_t)job->count * sizeof job->calls[0]);
    memcpy(job->first, first, (size_t)job->count);
    for (int n = 0; n < LM_GUARDED_MAX; n++)
        job->results[n] = -ECANCELED;
    failed = lm_apart(guardian, job, 0, err) < 0;
    if (!failed && job->failed) {
        *err = job->err;
        failed = 1;
    }
    memcpy(results, job->results, (size_t)job->count * sizeof *results);
    free(job);
    return failed ? -1 : 0;
}

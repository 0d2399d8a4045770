/* waiting_threads DIR: one thread per way of waiting; each waits in exactly one system call while the program is stopped.
 *
 *   state     how each wait stands: "waiting", or how it ended
 *   wake      end the waits that wait for an event; what each then saw, EINTR and wrong data included
 *
 * The sleeps end by themselves after SLEEP_S seconds of CLOCK_MONOTONIC; they report whether they slept at least that long. */
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/syscall.h>

#include "control.h"

#define SLEEP_S 6
enum { READ, POLL, POLL_TIMED, PPOLL, SELECT, EPOLL, EVENTFD, FUTEX, FUTEX_TIMED, SIGWAIT, NANOSLEEP, NANOSLEEP_ABS, KINDS };
static const char *const names[] = {"read", "poll", "poll_timed", "ppoll", "select", "epoll", "eventfd", "futex", "futex_timed", "sigwait",
                                    "nanosleep", "nanosleep_abs"};

static int pipes[KINDS][2], epoll_fd, event_fd;
static int futex_word[KINDS];
static char result[KINDS][80];
static pthread_t threads[KINDS];
static pid_t tids[KINDS];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static long futex(int kind, int op, int value, struct timespec *timeout)
{
    return syscall(SYS_futex, &futex_word[kind], op | FUTEX_PRIVATE_FLAG, value, timeout, NULL, 0);
}

static long wait_once(int kind)
{
    struct pollfd pfd = {.fd = pipes[kind][0], .events = POLLIN};
    struct timespec far = {3600, 0}, nap = {SLEEP_S, 0};
    struct epoll_event event;
    fd_set set;
    uint64_t count = 0;
    char byte = 0;
    sigset_t signals;
    switch (kind) {
    case READ:
        return read(pipes[READ][0], &byte, 1) == 1 ? byte == 'R' ? 1 : -2 : -1;
    case POLL:
        return poll(&pfd, 1, -1);
    case POLL_TIMED:
        return poll(&pfd, 1, 3600 * 1000);
    case PPOLL:
        return ppoll(&pfd, 1, &far, NULL);
    case SELECT:
        FD_ZERO(&set);
        FD_SET(pfd.fd, &set);
        return select(pfd.fd + 1, &set, NULL, NULL, NULL);
    case EPOLL:
        return epoll_wait(epoll_fd, &event, 1, -1) == 1 ? event.data.u64 == 0x1a31a ? 1 : -2 : -1;
    case EVENTFD:
        return read(event_fd, &count, 8) == 8 ? count == 7 ? 1 : -2 : -1;
    case FUTEX:
        return futex(FUTEX, FUTEX_WAIT, 0, NULL) == 0 ? 1 : -1;
    case FUTEX_TIMED:
        return futex(FUTEX_TIMED, FUTEX_WAIT, 0, &far) == 0 ? 1 : -1;
    case SIGWAIT:
        sigemptyset(&signals);
        sigaddset(&signals, SIGUSR2);
        return sigtimedwait(&signals, NULL, &far) == SIGUSR2 ? 1 : -1;
    case NANOSLEEP:
        return nanosleep(&nap, NULL) == 0 ? 1 : -1;
    default:
        clock_gettime(CLOCK_MONOTONIC, &nap);
        nap.tv_sec += SLEEP_S;
        return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &nap, NULL) == 0 ? 1 : -1;
    }
}

static void *wait_thread(void *arg)
{
    int kind = (int)(intptr_t)arg;
    tids[kind] = syscall(SYS_gettid);
    double began = now();
    long got = wait_once(kind);
    int why = errno;
    if (got == 1)
        snprintf(result[kind], sizeof *result, kind >= NANOSLEEP && now() - began < SLEEP_S - 0.01 ? "too short" : "ok");
    else
        snprintf(result[kind], sizeof *result, got == -2 ? "wrong data" : strerror(why));
    return NULL;
}

static void wake(void)
{
    uint64_t seven = 7;
    ssize_t put = write(event_fd, &seven, 8);
    for (int kind = READ; kind <= EPOLL; kind++)
        put = write(pipes[kind][1], "R", 1);
    (void)put;
    for (int kind = FUTEX; kind <= FUTEX_TIMED; kind++) {
        futex_word[kind] = 1;
        futex(kind, FUTEX_WAKE, 1, NULL);
    }
    pthread_kill(threads[SIGWAIT], SIGUSR2);
    for (int kind = 0; kind < KINDS; kind++)
        pthread_join(threads[kind], NULL);
}

int main(int argc, char **argv)
{
    char line[256], text[4096];
    sigset_t signals;
    (void)argc;
    control_init(argv[1]);
    sigemptyset(&signals);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    for (int kind = 0; kind < KINDS; kind++)
        if (pipe2(pipes[kind], O_CLOEXEC) != 0)
            abort();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    event_fd = eventfd(0, EFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0x1a31a};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pipes[EPOLL][0], &event);
    for (intptr_t kind = 0; kind < KINDS; kind++)
        pthread_create(&threads[kind], NULL, wait_thread, (void *)kind);
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "wake"))
                wake();
            int at = snprintf(text, sizeof text, "{");
            for (int kind = 0; kind < KINDS; kind++)
                at += snprintf(text + at, sizeof text - at, "%s\"%s\": \"%s\"", kind ? ", " : "", names[kind], *result[kind] ? result[kind] : "waiting");
            control_reply("%s}", text);
        }
        control_rest(2000);
    }
}

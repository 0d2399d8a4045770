/* signals_timers DIR: handlers, an alternate stack, queued and blocked signals, an interval timer, POSIX timers.
 *
 *   state     what sigaction, the masks, sigpending, sigaltstack and the timers say now, and the counters of the handlers
 *   unblock   let the queued signals come; the values they carried, in order */
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>

#include "control.h"

static volatile uint64_t ticks, posix_ticks, on_altstack;
static volatile int queued[16], queued_count;
static char stack[65536] __attribute__((aligned(16)));
static timer_t timer;

static void on_alarm(int number)
{
    char here;
    (void)number;
    ticks++;
    on_altstack += &here >= stack && &here < stack + sizeof stack;
}

static void on_posix(int number) { (void)number, posix_ticks++; }

static void on_queued(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (queued_count < 16)
        queued[queued_count++] = number << 16 | (info->si_value.sival_int & 0xffff);
}

static void state(void)
{
    char text[8192];
    struct sigaction action;
    sigset_t mask, pending;
    stack_t alt;
    struct itimerval interval;
    struct itimerspec posix;
    int at = snprintf(text, sizeof text, "{\"actions\": [");
    for (int n = 1; n <= 64; n++)
        if (sigaction(n, NULL, &action) == 0)
            at += snprintf(text + at, sizeof text - at, "%s[%d, %lu, %d, %d]", n > 1 ? ", " : "", n, (unsigned long)action.sa_handler,
                           action.sa_flags, sigismember(&action.sa_mask, SIGTERM));
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    sigpending(&pending);
    sigaltstack(NULL, &alt);
    getitimer(ITIMER_REAL, &interval);
    timer_gettime(timer, &posix);
    at += snprintf(text + at, sizeof text - at, "], \"mask\": \"%016lx\", \"pending\": \"%016lx\"", *(unsigned long *)&mask, *(unsigned long *)&pending);
    at += snprintf(text + at, sizeof text - at, ", \"altstack\": [%lu, %zu]", (unsigned long)alt.ss_sp, alt.ss_size);
    at += snprintf(text + at, sizeof text - at, ", \"interval_us\": %ld, \"posix_interval_ns\": %ld", interval.it_interval.tv_usec, posix.it_interval.tv_nsec);
    control_reply("%s, \"ticks\": %lu, \"posix_ticks\": %lu, \"off_altstack\": %lu}", text, ticks, posix_ticks, ticks - on_altstack);
}

int main(int argc, char **argv)
{
    char line[256];
    sigset_t blocked;
    (void)argc;
    control_init(argv[1]);
    stack_t alt = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&alt, NULL);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGALRM, &action, NULL);
    action = (struct sigaction){.sa_handler = on_posix, .sa_flags = SA_RESTART};
    sigaction(SIGRTMIN + 2, &action, NULL);
    action = (struct sigaction){.sa_sigaction = on_queued, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGRTMIN + 5, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGRTMIN + 5);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    for (int n = 0; n < 3; n++)
        sigqueue(getpid(), SIGRTMIN + 5, (union sigval){.sival_int = 100 + n});
    kill(getpid(), SIGUSR1);

    struct itimerval interval = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &interval, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 2};
    struct itimerspec period = {{0, 30000000}, {0, 30000000}};
    timer_create(CLOCK_MONOTONIC, &event, &timer); /* its id is not 0 once this one is gone */
    timer_t first = timer;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
    timer_delete(first);
    timer_settime(timer, 0, &period, NULL);

    for (;;) {
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "unblock")) {
                sigprocmask(SIG_UNBLOCK, &blocked, NULL);
                char text[512];
                int at = 0;
                for (int n = 0; n < queued_count; n++)
                    at += snprintf(text + at, sizeof text - at, "%s[%d, %d]", n ? ", " : "", queued[n] >> 16, queued[n] & 0xffff);
                control_reply("{\"queued\": [%s]}", at ? text : "");
            } else
                state();
        }
        control_rest(2000);
    }
}

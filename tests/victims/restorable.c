/* restorable DIR: one program with one of everything that a restore brings back, for image sets whose every field is then changed.
 *
 * Areas: private and shared file mappings, advised, locked, growing down, without access, huge, droppable by fork. Descriptors: a file with an
 * offset and an owner of its signals, a directory, devices, a pipe with data, one in packet mode, eventfds, epolls one in the other, TCP
 * listeners with options. A thread with an alternate stack, a name, a nice value, queued signals. Timers of all clocks. Credentials.
 *
 *   state     its pid */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <linux/membarrier.h>

#include "control.h"

#define PAGE 4096UL
#define MUST(call) do { if ((long)(call) < 0) { perror(#call); exit(1); } } while (0)

static char stack[65536] __attribute__((aligned(16)));
static char thread_stack[65536] __attribute__((aligned(16)));
static pthread_barrier_t ready;

static void queue(pid_t tid, int number, int value)
{
    siginfo_t info = {.si_signo = number, .si_code = SI_QUEUE, .si_pid = getpid(), .si_value.sival_int = value};
    MUST(tid ? syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, number, &info) : syscall(SYS_rt_sigqueueinfo, getpid(), number, &info));
}

static void *other(void *unused)
{
    stack_t alternate = {.ss_sp = thread_stack, .ss_size = sizeof thread_stack};

    prctl(PR_SET_NAME, "other one");
    MUST(sigaltstack(&alternate, NULL));
    MUST(setpriority(PRIO_PROCESS, 0, 3));
    queue(syscall(SYS_gettid), SIGRTMIN + 3, 7);
    queue(syscall(SYS_gettid), SIGUSR2, 8);
    pthread_barrier_wait(&ready);
    for (;;)
        pause();
    return unused;
}

static void *map(size_t pages, int prot, int flags, int fd, int advice)
{
    char *place = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *found = mmap(place + PAGE, pages * PAGE, prot, flags | MAP_FIXED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

    if (found == MAP_FAILED)
        perror("mmap"), exit(1);
    if (prot & PROT_WRITE)
        memset(found, 0x5a, PAGE);
    if (advice)
        MUST(madvise(found, pages * PAGE, advice));
    return found;
}

static void areas(const char *dir)
{
    char path[4096], page[PAGE];

    snprintf(path, sizeof path, "%s/mapped", dir);
    memset(page, 'm', sizeof page);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int at = 0; at < 8; at++)
        MUST(write(fd, page, sizeof page));
    map(8, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    map(8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map(4, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    MUST(mprotect(map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, 0), 4 * PAGE, PROT_READ));
    map(4, PROT_NONE, MAP_PRIVATE | MAP_NORESERVE, -1, 0);
    map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_GROWSDOWN, -1, 0);
    map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, MADV_DONTFORK);
    map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, MADV_DONTDUMP);
    map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, MADV_WIPEONFORK);
    map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, MADV_SEQUENTIAL);
    map(1024, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, MADV_HUGEPAGE);
    map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, MADV_NOHUGEPAGE);
    MUST(mlock(map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE, -1, 0), 4 * PAGE));
}

static int listener(int family, int backlog)
{
    union { struct sockaddr_in four; struct sockaddr_in6 six; struct sockaddr any; } at = {.four.sin_family = family};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, idle = 77, size = 65536;
    struct linger linger = {1, 5};

    if (family == AF_INET)
        at.four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        at.six.sin6_addr = in6addr_loopback;
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    MUST(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
    MUST(setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle));
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    MUST(bind(fd, &at.any, family == AF_INET ? sizeof at.four : sizeof at.six));
    MUST(listen(fd, backlog));
    return fd;
}

static void watch(int epoll, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
}

static void descriptors(const char *dir)
{
    char path[4096];
    int plain[2], packets[2];
    struct f_owner_ex owner = {F_OWNER_PID, getpid()};

    snprintf(path, sizeof path, "%s/file", dir);
    int file = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
    MUST(write(file, "0123456789", 10));
    MUST(lseek(file, 4, SEEK_SET));
    MUST(open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    MUST(open("/dev/zero", O_RDWR));
    MUST(open("/dev/urandom", O_RDONLY | O_NONBLOCK));
    MUST(pipe2(plain, O_CLOEXEC));
    MUST(write(plain[1], "in the pipe", 11));
    MUST(fcntl(plain[0], F_SETOWN_EX, &owner));
    MUST(fcntl(plain[0], F_SETSIG, SIGRTMIN + 5));
    MUST(fcntl(plain[0], F_SETFL, O_ASYNC | O_NONBLOCK));
    MUST(pipe2(packets, O_DIRECT | O_NONBLOCK));
    MUST(write(packets[1], "packet", 6));
    MUST(dup2(packets[1], 100));
    int count = eventfd(5, EFD_CLOEXEC), semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    int inner = epoll_create1(EPOLL_CLOEXEC), outer = epoll_create1(0);
    watch(inner, plain[0], EPOLLIN | EPOLLET, 0x1122334455667788);
    watch(inner, count, EPOLLIN, 2);
    watch(outer, inner, EPOLLIN, 3);
    watch(outer, semaphore, EPOLLIN | EPOLLOUT, 4);
    watch(outer, listener(AF_INET, 9), EPOLLIN, 5);
    watch(outer, listener(AF_INET6, 5), EPOLLIN, 6);
}

static void timers(void)
{
    struct itimerspec later = {{1000, 5}, {2000, 7}};
    struct itimerval soon = {{3000, 1}, {4000, 2}};
    clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID};

    for (unsigned at = 0; at < sizeof clocks / sizeof *clocks; at++) {
        struct sigevent event = {.sigev_notify = at == 1 ? SIGEV_NONE : SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 1, .sigev_value.sival_int = at};
        timer_t timer;
        MUST(timer_create(clocks[at], &event, &timer));
        MUST(timer_settime(timer, 0, &later, NULL));
    }
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++)
        MUST(setitimer(which, &soon, NULL));
}

static void on_signal(int number) { (void)number; }

static void signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    sigset_t blocked;

    sigaddset(&action.sa_mask, SIGTERM);
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(sigaltstack(&alternate, NULL));
    sigfillset(&blocked);
    sigdelset(&blocked, SIGTERM);
    MUST(sigprocmask(SIG_SETMASK, &blocked, NULL));
    queue(0, SIGRTMIN + 2, 1);
    queue(0, SIGRTMIN + 2, 2);
    MUST(raise(SIGUSR1));
    MUST(kill(getpid(), SIGHUP));
}

int main(int argc, char **argv)
{
    char line[256];
    pthread_t thread;
    struct rlimit files = {500, 1000};

    (void)argc;
    control_init(argv[1]);
    signals();
    pthread_barrier_init(&ready, NULL, 2);
    MUST(-pthread_create(&thread, NULL, other, NULL));
    pthread_barrier_wait(&ready);
    areas(argv[1]);
    descriptors(argv[1]);
    timers();
    MUST(setrlimit(RLIMIT_NOFILE, &files));
    MUST(prctl(PR_SET_CHILD_SUBREAPER, 1));
    MUST(prctl(PR_SET_PDEATHSIG, SIGUSR2));
    MUST(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    for (;;) {
        if (control_question(line, sizeof line))
            control_reply("{\"pid\": %d}", getpid());
        control_rest(2000);
    }
}

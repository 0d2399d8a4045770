/* kinds DIR: a small tree that holds one of nearly everything an image set can name, for sets of images to read (not to be restored by us).
 *
 * Parent: threads, pipes with data, a fifo, a terminal pair, unix, inet, netlink and packet sockets, eventfd, epoll, timerfd, signalfd, inotify,
 * memfd, a deleted file, a locked file, shared memory, timers, a queued signal, a child that shares memory and a pipe, and a zombie.
 *
 *   write N         write N pages of private memory → N */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "control.h"

#define PAGE 4096
static char *memory;

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void *idle(void *unused)
{
    for (;;)
        control_rest(50000);
    return unused;
}

static void sockets(const char *dir)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int pair[2];
    must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    must(write(pair[0], "queued", 6) == 6, "write");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s/socket", dir);
    int listening = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    must(!bind(listening, (void *)&name, sizeof name) && !listen(listening, 3), "bind");
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    must(!bind(tcp, (void *)&here, sizeof here) && !listen(tcp, 5), "tcp");
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    must(!bind(udp, (void *)&here, sizeof here), "udp");
    struct sockaddr_nl route = {.nl_family = AF_NETLINK};
    must(!bind(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), (void *)&route, sizeof route), "netlink");
}

static void waiting(const char *dir)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    int event = eventfd(7, EFD_CLOEXEC), epoll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, 0), watch = inotify_init1(0);
    struct epoll_event interest = {.events = EPOLLIN, .data.u64 = 0x1234567890};
    must(!epoll_ctl(epoll, EPOLL_CTL_ADD, event, &interest), "epoll");
    must(!timerfd_settime(timer, 0, &(struct itimerspec){{3600, 0}, {3600, 0}}, NULL), "timerfd");
    must(signalfd(-1, &mask, 0) >= 0 && inotify_add_watch(watch, dir, IN_DELETE_SELF) > 0, "signalfd, inotify");
    sigprocmask(SIG_BLOCK, &mask, NULL);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 77});
    setitimer(ITIMER_REAL, &(struct itimerval){{3600, 0}, {3600, 0}}, NULL);
    timer_t posix;
    must(!timer_create(CLOCK_MONOTONIC, &(struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2}, &posix), "timer");
    timer_settime(posix, 0, &(struct itimerspec){{3600, 0}, {3600, 0}}, NULL);
}

static void files(const char *dir)
{
    char path[4200];
    int ends[2], fd;
    must(!pipe(ends) && write(ends[1], "in the pipe", 11) == 11, "pipe");
    snprintf(path, sizeof path, "%s/fifo", dir);
    must(!mkfifo(path, 0600) && open(path, O_RDWR) >= 0, "fifo");
    snprintf(path, sizeof path, "%s/deleted", dir);
    must((fd = open(path, O_RDWR | O_CREAT, 0600)) >= 0 && write(fd, "a ghost", 7) == 7 && !unlink(path), "deleted");
    snprintf(path, sizeof path, "%s/locked", dir);
    must((fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600)) >= 0 && !flock(fd, LOCK_EX) && write(fd, "locked", 6) == 6, "locked");
    must((fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING)) >= 0 && write(fd, "in a memfd", 10) == 10, "memfd");
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    must(master >= 0 && !grantpt(master) && !unlockpt(master) && open(ptsname(master), O_RDWR | O_NOCTTY) >= 0, "pty");
}

static void children(void)
{
    char *shared = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(shared != MAP_FAILED, "shared");
    strcpy(shared, "shared by two");
    int ends[2];
    must(!pipe(ends), "pipe");
    pid_t zombie = fork();
    if (!zombie)
        _exit(7);
    must(!waitid(P_PID, zombie, &(siginfo_t){0}, WEXITED | WNOWAIT), "waitid");
    if (!fork()) {
        close(ends[1]);
        setpgid(0, 0);
        strcpy(shared + PAGE, "from the child");
        read(ends[0], shared + 2 * PAGE, 1);
        _exit(0);
    }
}

int main(int argc, char **argv)
{
    char line[256];
    size_t n;
    pthread_t thread;
    if (argc < 2)
        return 2;
    control_init(argv[1]);
    memory = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, "memory");
    files(argv[1]);
    sockets(argv[1]);
    waiting(argv[1]);
    children();
    pthread_create(&thread, NULL, idle, NULL);
    for (uint64_t round = 1;; control_rest(2000)) {
        if (!control_question(line, sizeof line))
            continue;
        if (sscanf(line, "write %zu", &n) == 1)
            for (size_t page = 0; page < n && page < 64; page++)
                snprintf(memory + page * PAGE, PAGE, "round %lu, page %zu", round, page);
        round++;
        control_reply("{\"round\": %lu}", round);
    }
}

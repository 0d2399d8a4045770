/* settings DIR [LOGINUID]: holds an unusual value of everything that images of CRIU have no field for, or that lamina once lost.
 *
 * Main thread, a second thread with other values, and a child with a control group of its own if DIR/cgroup names one.
 *   state           everything, asked of the kernel from inside
 *   future          maps a page and says whether it is locked, and locked only at the first touch */
#include <linux/mempolicy.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "control.h"

#define PAGE 4096
#define AREAS 64
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif
struct attr {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
    uint32_t util_min, util_max;
};
static char *locked, *lazy, *bound, *plain, *guarded[3];
static pid_t worker_tid;
static int worker_round, asked_round;
static char worker_text[4096];

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void set_thread(int cpu, int ioprio, long slack, int mce, int mode, uint64_t slice)
{
    unsigned long cpus[16] = {1UL << cpu}, nodes = 1;
    struct attr attr = {.size = sizeof attr, .nice = 3, .runtime = slice};
    must(!syscall(SYS_sched_setaffinity, 0, sizeof cpus, cpus), "affinity");
    must(!syscall(SYS_ioprio_set, 1, 0, ioprio), "ioprio");
    must(!syscall(SYS_sched_setattr, 0, &attr, 0), "sched_setattr");
    must(!prctl(PR_SET_TIMERSLACK, slack, 0, 0, 0), "timer slack");
    must(!prctl(PR_MCE_KILL, PR_MCE_KILL_SET, mce, 0, 0), "mce");
    syscall(SYS_set_mempolicy, mode, &nodes, 64); /* not on every kernel */
}

static void say_thread(char *text, size_t size)
{
    unsigned long cpus[16] = {0}, nodes[16] = {0};
    struct attr attr = {.size = sizeof attr};
    int mode = 0;
    syscall(SYS_sched_getaffinity, 0, sizeof cpus, cpus);
    syscall(SYS_get_mempolicy, &mode, nodes, 1024, 0, 0);
    syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0);
    snprintf(text, size,
             "{\"cpus\": %lu, \"ioprio\": %ld, \"slack\": %d, \"mce\": %d, \"policy\": [%d, %lu], \"nice\": %d, \"slice\": %lu, "
             "\"speculation\": [%d, %d, %d], \"session\": %d, \"securebits\": %d}",
             cpus[0], syscall(SYS_ioprio_get, 1, 0), prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0), prctl(PR_MCE_KILL_GET, 0, 0, 0, 0), mode,
             nodes[0], attr.nice, attr.runtime, prctl(PR_GET_SPECULATION_CTRL, 0, 0, 0, 0), prctl(PR_GET_SPECULATION_CTRL, 1, 0, 0, 0),
             prctl(PR_GET_SPECULATION_CTRL, 2, 0, 0, 0), syscall(SYS_keyctl, 0, -3, 0) > 0, prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
}

static void *work(void *unused)
{
    worker_tid = gettid();
    set_thread(1 % sysconf(_SC_NPROCESSORS_ONLN), 3 << 13, 777777, PR_MCE_KILL_LATE, MPOL_BIND, 3000000);
    for (;; control_rest(2000)) {
        if (__atomic_load_n(&asked_round, __ATOMIC_ACQUIRE) == worker_round)
            continue;
        say_thread(worker_text, sizeof worker_text);
        __atomic_store_n(&worker_round, asked_round, __ATOMIC_RELEASE);
    }
    return unused;
}

/* A line of a file of /proc without its end, or the file's whole text with ends as spaces. */
static void text_of(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    for (char *at = text; *at; at++)
        if (*at == '\n' || *at == '"' || *at == '\\')
            *at = at[1] ? ' ' : 0;
}

static void flags_of(void *address, char *flags, size_t size)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    unsigned long start, end;
    int inside = 0;
    flags[0] = 0;
    while (maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = (unsigned long)address >= start && (unsigned long)address < end;
        if (inside && !strncmp(line, "VmFlags: ", 9)) {
            line[strcspn(line, "\n")] = 0;
            snprintf(flags, size, "%.100s", line + 9);
        }
    }
    fclose(maps);
}

static void policy_of(void *address, int *mode, unsigned long *nodes)
{
    unsigned long mask[16] = {0};
    syscall(SYS_get_mempolicy, mode, mask, 1024, address, MPOL_F_ADDR);
    *nodes = mask[0];
}

/* One letter a page: g for a guard page, else what its first byte is. */
static void pages_of(const char *area, char *text)
{
    uint64_t entries[8];
    int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    must(pread(fd, entries, sizeof entries, (off_t)(uintptr_t)area / PAGE * 8) == sizeof entries, "pagemap");
    close(fd);
    for (int n = 0; n < 8; n++)
        text[n] = entries[n] >> 58 & 1 ? 'g' : area[n * PAGE] ? area[n * PAGE] : '0';
    text[8] = 0;
}

/* Private and anonymous, the same and locked, and shared with a file. */
static void guards(const char *dir)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/mapped", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0 && !ftruncate(fd, 8 * PAGE), path);
    for (int n = 0; n < 3; n++) {
        guarded[n] = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, n == 2 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, n == 2 ? fd : -1, 0);
        must(guarded[n] != MAP_FAILED, "mmap");
        for (int page = 0; page < 8; page += 2)
            guarded[n][page * PAGE] = 'A' + page;
        /* Not on every kernel; of files only since 6.15. */
        madvise(guarded[n] + PAGE, 2 * PAGE, MADV_GUARD_INSTALL);
        madvise(guarded[n] + 7 * PAGE, PAGE, MADV_GUARD_INSTALL);
    }
    close(fd);
    mlock(guarded[1], 8 * PAGE);
}

static void areas(void)
{
    unsigned long nodes = 1;
    locked = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(!mprotect(locked + PAGE, PAGE, PROT_NONE), "mprotect"); /* as the guard page of every thread */
    lazy = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    bound = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    plain = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(plain, 8 * PAGE, MADV_DONTFORK);
    syscall(SYS_mbind, bound, 8 * PAGE, MPOL_INTERLEAVE, &nodes, 64, 0);
    must(mlock(locked, 3 * PAGE) && errno == ENOMEM, "mlock of a page without access");
    must(!syscall(SYS_mlock2, lazy, 8 * PAGE, MLOCK_ONFAULT), "mlock2");
    must(!mlockall(MCL_FUTURE | MCL_ONFAULT), "mlockall");
}

static void say(pid_t child)
{
    char held[3][16], main_text[4096], filter[64], login[64], groups[2048], childs[2048], thread[2048], flags[4][128], path[64], limits[1024], kind[64], autogroup[128], *nice;
    int mode[2] = {0};
    unsigned long nodes[2] = {0};
    say_thread(main_text, sizeof main_text);
    __atomic_add_fetch(&asked_round, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&worker_round, __ATOMIC_ACQUIRE) != asked_round)
        control_rest(500);
    text_of("/proc/self/coredump_filter", filter, sizeof filter);
    text_of("/proc/self/loginuid", login, sizeof login);
    text_of("/proc/self/cgroup", groups, sizeof groups);
    snprintf(path, sizeof path, "/proc/self/task/%d/cgroup", worker_tid);
    text_of(path, thread, sizeof thread);
    snprintf(path, sizeof path, "/proc/%d/cgroup", child);
    text_of(path, childs, sizeof childs);
    text_of("/proc/self/personality", kind, sizeof kind);
    text_of("/proc/self/autogroup", autogroup, sizeof autogroup);
    flags_of(locked, flags[0], sizeof flags[0]);
    flags_of(locked + PAGE, flags[1], sizeof flags[1]);
    flags_of(lazy, flags[2], sizeof flags[2]);
    flags_of(bound, flags[3], sizeof flags[3]);
    policy_of(bound, &mode[0], &nodes[0]);
    policy_of(plain, &mode[1], &nodes[1]);
    nice = strstr(autogroup, "nice"); /* the number of the group is a new one */
    for (int n = 0; n < 3; n++)
        pages_of(guarded[n], held[n]);
    limits[0] = 0;
    for (int n = 0; n < RLIM_NLIMITS; n++) {
        struct rlimit limit;
        getrlimit(n, &limit);
        size_t at = strlen(limits);
        snprintf(limits + at, sizeof limits - at, "%s[%ld, %ld]", n ? ", " : "", (long)limit.rlim_cur, (long)limit.rlim_max);
    }
    control_reply("{\"main\": %s, \"worker\": %s, \"filter\": \"%s\", \"login\": \"%s\", \"groups\": \"%s\", \"thread's\": \"%s\", "
                  "\"child's\": \"%s\", \"flags\": [\"%s\", \"%s\", \"%s\", \"%s\"], \"policies\": [%d, %lu, %d, %lu], "
                  "\"personality\": \"%s\", \"limits\": [%s], \"guards\": [\"%s\", \"%s\", \"%s\"], \"autogroup\": \"%s\"}",
                  main_text, worker_text, filter, login, groups, thread, childs, flags[0], flags[1], flags[2], flags[3], mode[0], nodes[0],
                  mode[1], nodes[1], kind, limits, held[0], held[1], held[2], nice ? nice : "");
}

static void future(void)
{
    char flags[128];
    char *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    flags_of(page, flags, sizeof flags);
    munmap(page, PAGE);
    control_reply("{\"locked\": %d, \"onfault\": %d}", strstr(flags, "lo") != NULL, strstr(flags, "lf") != NULL);
}

/* Joins the control group that DIR/WHICH names, if there is one. */
static void join_group(const char *dir, const char *which)
{
    char path[4200], group[4096], number[32];
    snprintf(path, sizeof path, "%s/%s", dir, which);
    text_of(path, group, sizeof group);
    if (!group[0])
        return;
    snprintf(path, sizeof path, "%s/tasks", group);
    int fd = open(path, O_WRONLY | O_CLOEXEC), size = snprintf(number, sizeof number, "%d", gettid());
    must(fd >= 0 && write(fd, number, size) == size && !close(fd), path);
}

int main(int argc, char **argv)
{
    char line[256];
    pthread_t thread;
    if (argc < 2)
        return 2;
    if (!(personality(0xffffffff) & ADDR_NO_RANDOMIZE)) {
        personality(ADDR_NO_RANDOMIZE | STICKY_TIMEOUTS);
        execv("/proc/self/exe", argv);
    }
    control_init(argv[1]);
    if (argc > 2) {
        int fd = open("/proc/self/loginuid", O_WRONLY | O_CLOEXEC);
        must(fd >= 0 && write(fd, argv[2], strlen(argv[2])) > 0 && !close(fd), "loginuid");
    }
    must(syscall(SYS_keyctl, 1, NULL) > 0, "session keyring");
    must(!syscall(SYS_keyctl, 8, -4, -3), "link of the user's keyring");
    int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
    must(filter >= 0 && write(filter, "0x17f", 5) == 5 && !close(filter), "coredump_filter");
    int ready[2];
    must(!pipe(ready), "pipe");
    int group = open("/proc/self/autogroup", O_WRONLY | O_CLOEXEC); /* not on every kernel */
    if (group >= 0)
        must(write(group, "4", 1) == 1 && !close(group), "autogroup");
    pid_t child = fork();
    if (!child) {
        join_group(argv[1], "cgroup");
        close(ready[0]);
        close(ready[1]);
        for (;;)
            pause();
    }
    close(ready[1]);
    must(!read(ready[0], line, 1) && !close(ready[0]), "child");
    guards(argv[1]);
    areas();
    pthread_create(&thread, NULL, work, NULL);
    while (!__atomic_load_n(&worker_tid, __ATOMIC_ACQUIRE))
        control_rest(500);
    set_thread(0, 2 << 13 | 7, 123456, PR_MCE_KILL_EARLY, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, 5000000);
    for (;; control_rest(2000)) {
        if (!control_question(line, sizeof line))
            continue;
        if (!strcmp(line, "future"))
            future();
        else
            say(child);
    }
}

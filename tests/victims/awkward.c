/* Programs in which calls cannot be made as in others, or that take a thread out of reach. argv[1] is the control directory, argv[2] the kind:
 *
 *   dispatch leader|thread|allow|vdso|child|go   system call user dispatch, as Wine and gVisor use it: blocked in the leader, in another
 *                                             thread, armed with the selector on allow, with a range that covers the vdso, in a child, in
 *                                             the leader once it is asked to, while another thread sleeps
 *   code32                                    a thread runs 32-bit code, entered by a far return
 *   ldt                                       it has a segment of its own, as Wine makes them
 *   mdwe                                      it wants no memory that is or becomes executable, as systemd's MemoryDenyWriteExecute= asks
 *   int80                                     a thread waits in a 32-bit system call
 *   step                                      a thread traps after each of its own instructions (TF)
 *   vfork                                     a thread waits in uninterruptible sleep for a child that it shares no memory with
 *   strict                                    a thread enters seccomp's strict mode when asked to
 *   handlers                                  every signal that can be handled is, as in a Go program
 *   blocking                                  a thread blocks all signals, of which SIGSEGV and SIGSYS are waiting; SIGTRAP is ignored
 *
 * argv[4], if there is one: so many MiB of memory besides, which "write" writes into.
 *
 * It answers {"steps", "odd", "wrong", "faults"}: rounds of its main thread and of the odd one, how often something was
 * not as it should be, and how many page faults the last "write" took. */
#include "control.h"

#include <asm/ldt.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif
#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#endif
enum { ALLOW = 0, BLOCK = 1 };

struct shared {
    volatile uint32_t odd; /* first: the 32-bit code counts here */
    volatile uint64_t steps, wrong;
    volatile uint64_t own_sigsys;
    volatile int go;
};
static struct shared *shared;
static pthread_barrier_t started;
static volatile char selector = ALLOW;
static volatile sig_atomic_t expected;
static const char *kind, *where = "";

static void on_sigsys(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    selector = ALLOW; /* rt_sigreturn is a call, too */
    if (expected)
        shared->own_sigsys++;
    else
        shared->wrong++;
}

static void on_any(int number) { (void)number, shared->own_sigsys++; }

static int arm(void)
{
    unsigned long offset = 0, length = 0;
    FILE *maps = where[0] == 'v' ? fopen("/proc/self/maps", "r") : NULL;
    char line[512];

    while (maps && fgets(line, sizeof line, maps)) {
        unsigned long start, end;

        if (strstr(line, "[vdso]") && sscanf(line, "%lx-%lx", &start, &end) == 2)
            offset = start, length = end - start;
    }
    if (maps)
        fclose(maps);
    return prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, offset, length, &selector);
}

/* What a dispatching program does: its own code between calls is blocked, and one call in a while is dispatched and comes back. */
static void dispatching_round(void)
{
    uint64_t sum = 0, before = shared->own_sigsys;

    if (where[0] != 'a')
        selector = BLOCK;
    for (uint64_t i = 0; i < 2000000; i++)
        sum += mix(i);
    shared->wrong += sum == 0;
    if (where[0] != 'a') {
        expected = 1;
        __asm__ volatile("syscall" : : "a"(SYS_getppid) : "rcx", "r11", "memory");
        expected = 0;
        shared->wrong += shared->own_sigsys != before + 1;
    }
    selector = ALLOW;
}

static void under_way(void) { pthread_barrier_wait(&started); }

static void *dispatching(void *arg)
{
    (void)arg;
    if (arm())
        _exit(3);
    if (where[0] == 't')
        under_way();
    for (;;) {
        dispatching_round();
        shared->odd++;
    }
}

/* 1: incl (shared->odd); jmp 1b, in 32-bit code below 4 GiB. */
static void *code32(void *arg)
{
    uint8_t *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    uint8_t *stack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    uint32_t counter = (uint32_t)(uintptr_t)&shared->odd;

    (void)arg;
    if (code == MAP_FAILED || stack == MAP_FAILED)
        _exit(3);
    memcpy(code, "\xff\x05", 2);
    memcpy(code + 2, &counter, 4);
    memcpy(code + 6, "\xeb\xf8", 2);
    mprotect(code, 4096, PROT_READ | PROT_EXEC);
    under_way();
    __asm__ volatile("mov $0x2b, %%ecx\n\t"
                     "mov %%ecx, %%ds\n\t" /* a null segment will not do there */
                     "mov %1, %%rsp\n\t"
                     "push $0x23\n\t"
                     "push %0\n\t"
                     "lretq"
                     :
                     : "r"((uint64_t)(uintptr_t)code), "r"(stack + 65536)
                     : "memory", "rcx");
    return NULL;
}

static void *int80(void *arg)
{
    (void)arg;
    under_way();
    shared->odd++;
    for (;;) {
        long answer = 29; /* pause */

        __asm__ volatile("int $0x80" : "+a"(answer) : : "memory", "r8", "r9", "r10", "r11");
        shared->odd++;
    }
    return NULL;
}

static void on_trap(int number) { (void)number, shared->odd++; }

static void *step(void *arg)
{
    struct sigaction trapped = {.sa_handler = on_trap, .sa_flags = SA_NODEFER}; /* its mask is always the same */

    (void)arg;
    sigaction(SIGTRAP, &trapped, NULL);
    under_way();
    __asm__ volatile("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n1:\tnop\n\tjmp 1b" : : : "memory", "cc");
    return NULL;
}

static int child_of_vfork(void *arg)
{
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
    return 0;
}

static void *vforking(void *arg)
{
    (void)arg;
    under_way();
    for (;;) {
        int status;
        pid_t pid;

        while (!shared->go)
            control_rest(1000);
        /* No CLONE_VM: a child like any other, but that its parent sleeps until it ends. */
        pid = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) {
            _exit(child_of_vfork(NULL));
        }
        shared->wrong += pid < 0 || waitpid(pid, &status, 0) != pid;
        shared->odd++;
    }
}

static void *strict(void *arg)
{
    (void)arg;
    under_way();
    while (!shared->go)
        control_rest(1000);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
        _exit(3);
    for (uint64_t i = 0;; i++)
        if (mix(i) % 1024 == 0)
            shared->odd++;
}

static void *sleeping(void *arg)
{
    (void)arg;
    under_way();
    for (;;)
        pause();
    return NULL;
}

static void *blocking(void *arg)
{
    sigset_t all;

    (void)arg;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    pthread_kill(pthread_self(), SIGSEGV);
    pthread_kill(pthread_self(), SIGSYS);
    under_way();
    for (uint64_t i = 0;; i++) {
        sigset_t waiting;

        sigpending(&waiting);
        shared->wrong += !sigismember(&waiting, SIGSEGV) || !sigismember(&waiting, SIGSYS);
        shared->odd++;
    }
    return NULL;
}

/* Returns when the thread says that it is `under_way`: until then it changes its signal masks, as the library does for it. */
static void start(void *(*run)(void *))
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, NULL))
        exit(3);
    pthread_barrier_wait(&started);
}

/* Returns how many page faults it takes to write every page. */
static long write_all(char *memory, size_t size)
{
    struct rusage before, after;

    getrusage(RUSAGE_SELF, &before);
    for (size_t at = 0; at < size; at += 4096)
        memory[at]++;
    getrusage(RUSAGE_SELF, &after);
    return after.ru_minflt - before.ru_minflt;
}

static void become(void)
{
    struct sigaction dispatched = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO}, any = {.sa_handler = on_any, .sa_flags = SA_RESTART};

    if (!strcmp(kind, "dispatch")) {
        sigaction(SIGSYS, &dispatched, NULL);
        if (where[0] == 't')
            start(dispatching);
        else if (where[0] == 'g')
            start(sleeping);
        else if (where[0] == 'c') {
            if (fork() == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                dispatching(NULL);
            }
        } else if (arm())
            exit(3);
    } else if (!strcmp(kind, "handlers")) {
        for (int number = 1; number <= 64; number++)
            if (number != SIGKILL && number != SIGSTOP)
                sigaction(number, &any, NULL);
    } else if (!strcmp(kind, "blocking")) {
        signal(SIGTRAP, SIG_IGN);
        start(blocking);
    } else if (!strcmp(kind, "code32")) {
        start(code32);
    } else if (!strcmp(kind, "mdwe")) {
        if (prctl(PR_SET_MDWE, 1, 0, 0, 0)) /* PR_MDWE_REFUSE_EXEC_GAIN */
            exit(3);
    } else if (!strcmp(kind, "int80")) {
        start(int80);
    } else if (!strcmp(kind, "ldt")) {
        struct user_desc segment = {.base_addr = 0x1000, .limit = 0xfff, .seg_32bit = 1, .useable = 1};

        if (syscall(SYS_modify_ldt, 1, &segment, sizeof segment))
            exit(3);
    } else if (!strcmp(kind, "step")) {
        start(step);
    } else if (!strcmp(kind, "vfork")) {
        start(vforking);
    } else if (!strcmp(kind, "strict")) {
        start(strict);
    } else {
        exit(2);
    }
}

int main(int argc, char **argv)
{
    int own = 0;
    size_t size = argc > 4 ? strtoul(argv[4], NULL, 10) << 20 : 0;
    char *memory = NULL;
    long faults = 0;

    if (argc < 3)
        return 2;
    control_init(argv[1]);
    kind = argv[2];
    where = argc > 3 ? argv[3] : "";
    shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (shared == MAP_FAILED)
        return 3;
    if (size) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
            return 3;
        madvise(memory, size, MADV_NOHUGEPAGE); /* every page faults for itself */
        write_all(memory, size);
    }
    pthread_barrier_init(&started, NULL, 2);
    become();
    own = !strcmp(kind, "dispatch") && where[0] != 't' && where[0] != 'c' && where[0] != 'g';
    for (;;) {
        char line[64];

        if (own) {
            dispatching_round();
            shared->odd++;
        }
        shared->steps++;
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "go"))
                shared->go = 1;
            if (!strcmp(line, "write"))
                faults = write_all(memory, size);
            if (!strncmp(line, "end ", 4)) {
                shared->go = 0;
                kill(atoi(line + 4), SIGKILL);
            }
            control_reply("{\"steps\": %lu, \"odd\": %u, \"wrong\": %lu, \"own\": %lu, \"faults\": %ld}\n", shared->steps, shared->odd,
                          shared->wrong, shared->own_sigsys, faults);
            if (shared->go && where[0] == 'g' && !own) {
                if (arm())
                    return 3;
                own = 1;
            }
        }
        control_rest(own ? 0 : 500);
    }
}

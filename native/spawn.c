#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rawclone.h"
#include "remote.h"
#include "stops.h"

enum { STACK_BYTES = 16384, PATH_BYTES = 4096 };
#define EXEC_LIMIT_NS 60000000000ull

/* What the child is told and what it tells. */
struct orders {
    int gate_read, gate_write;
    int orphan;
    int wanted;
    volatile int error;
    unsigned long personality;
    char *argv[2], *envp[1];
    char executable[PATH_BYTES];
    uint8_t helper_stack[STACK_BYTES] __attribute__((aligned(16)));
    uint8_t stack[STACK_BYTES] __attribute__((aligned(16)));
};

static void wait_and_exec(void *own)
{
    struct orders *o = own;
    char byte;
    long got;

    lm_raw(SYS_close, o->gate_write, 0, 0, 0);
    do {
        got = lm_raw(SYS_read, o->gate_read, (long)&byte, 1, 0);
    } while (got == -EINTR);
    if (got == 1) {
        lm_raw(SYS_personality, (long)o->personality, 0, 0, 0);
        lm_raw(SYS_close_range, 0, (long)~0U, CLOSE_RANGE_CLOEXEC, 0);
        o->error = (int)-lm_raw(SYS_execve, (long)o->executable, (long)o->argv, (long)o->envp, 0);
    }
    for (;;)
        lm_raw(SYS_exit_group, 127, 0, 0, 0);
}

static long clone_waiting(struct orders *o)
{
    pid_t set_tid[1] = {o->wanted};
    struct clone_args args = {
        .flags = CLONE_VM,
        .exit_signal = SIGCHLD,
        .stack = (uintptr_t)o->stack,
        .stack_size = sizeof o->stack,
        .set_tid = (uintptr_t)set_tid,
        .set_tid_size = 1,
    };

    return lm_clone_into(&args, wait_and_exec, o);
}

/* The helper makes the real one and ends: its child falls to init at once. */
static void make_orphan(void *own)
{
    struct orders *o = own;
    long made = clone_waiting(o);

    o->error = made < 0 ? (int)-made : 0;
    for (;;)
        lm_raw(SYS_exit_group, 0, 0, 0, 0);
}

static long clone_helper(struct orders *o)
{
    struct clone_args args = {
        .flags = CLONE_VM,
        .stack = (uintptr_t)o->helper_stack,
        .stack_size = sizeof o->helper_stack,
    };
    long helper = lm_clone_into(&args, make_orphan, o);

    if (helper < 0)
        return helper;
    while (waitpid((pid_t)helper, NULL, __WALL) < 0 && errno == EINTR)
        ;
    return o->error ? -o->error : o->wanted;
}

int lm_spawn_start(lm_spawn *spawn, int pid, const char *executable, uint64_t personality, int orphan, lm_error *err)
{
    struct orders *o;
    uint64_t all = ~0ULL, before;
    int gate[2];
    long made;

    memset(spawn, 0, sizeof *spawn);
    spawn->gate = -1;
    if (strlen(executable) >= PATH_BYTES)
        return lm_refuse(err, "execve", pid, "the path of its executable is too long");
    o = mmap(NULL, sizeof *o, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (o == MAP_FAILED)
        return lm_fail(err, "mmap", pid, "no memory for the new process' first stack");
    if (pipe2(gate, O_CLOEXEC) < 0) {
        munmap(o, sizeof *o);
        return lm_fail(err, "pipe2", pid, "no gate for the new process");
    }
    strcpy(o->executable, executable);
    o->argv[0] = o->executable;
    o->gate_read = gate[0];
    o->gate_write = gate[1];
    o->orphan = orphan;
    o->wanted = pid;
    o->personality = personality;

    /* A handler of ours must not run in the child: it would run in our memory. All 64, which sigfillset would not give. */
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    made = orphan ? clone_helper(o) : clone_waiting(o);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    close(gate[0]);
    if (made < 0) {
        close(gate[1]);
        munmap(o, sizeof *o);
        errno = (int)-made;
        return lm_fail(err, "clone3", pid, "cannot make a process with this pid");
    }
    spawn->pid = pid;
    spawn->gate = gate[1];
    spawn->on_our_stack = 1;
    spawn->memory = o;
    spawn->memory_size = sizeof *o;
    return 0;
}

/* For an execve: its file may come from a slow disk. One that has ended is reaped: nobody else knows of it. */
static int wait_stop(int tid, int *status)
{
    lm_error err;

    if (lm_wait_stop(tid, status, lm_now_ns() + EXEC_LIMIT_NS, &err) < 0)
        return -1;
    if (!WIFSTOPPED(*status))
        waitpid(tid, NULL, __WALL | WNOHANG);
    return 0;
}

/* At PTRACE_EVENT_EXEC the task is still inside execve, whose result would overwrite rax: bring it to an event stop outside. */
static int leave_execve(int tid, lm_error *err)
{
    int status;

    if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0 || ptrace(PTRACE_CONT, tid, 0, 0) < 0)
        return lm_fail(err, "ptrace(INTERRUPT)", tid, "cannot step out of execve");
    if (wait_stop(tid, &status) < 0)
        return lm_fail(err, "waitpid", tid, "lost while stepping out of execve");
    if (!WIFSTOPPED(status) || status >> 16 != PTRACE_EVENT_STOP)
        return lm_refuse(err, "waitpid", tid, "ended or stopped in an unknown way after execve (status %#x)", status);
    return 0;
}

int lm_spawn_exec(lm_spawn *spawn, lm_error *err)
{
    struct orders *o = spawn->memory;
    int status;

    if (write(spawn->gate, "x", 1) != 1)
        return lm_fail(err, "write", spawn->pid, "the waiting process has gone");
    close(spawn->gate);
    spawn->gate = -1;
    if (wait_stop(spawn->pid, &status) < 0)
        return lm_fail(err, "waitpid", spawn->pid, "lost before execve");
    if (WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
        spawn->on_our_stack = 0;
        return leave_execve(spawn->pid, err);
    }
    spawn->on_our_stack = 0;
    spawn->exec_errno = o->error;
    errno = o->error;
    if (o->error)
        return lm_fail(err, "execve", o->wanted, "%.150s", o->executable);
    return lm_refuse(err, "execve", o->wanted, "the new process ended before it (status %#x)", status);
}

void lm_spawn_free(lm_spawn *spawn)
{
    if (spawn->gate >= 0)
        close(spawn->gate);
    spawn->gate = -1;
    if (spawn->on_our_stack) {
        int status;

        /* It runs on that memory until it has read end of file. Not ours to wait for (an orphan never seized): better leak 40 KiB. */
        do {
            if (wait_stop(spawn->pid, &status) < 0)
                return;
        } while (WIFSTOPPED(status) && ptrace(PTRACE_CONT, spawn->pid, 0, 0) == 0);
        spawn->on_our_stack = 0;
    }
    if (spawn->memory)
        munmap(spawn->memory, spawn->memory_size);
    spawn->memory = NULL;
}

/* One call made at `syscall_address` by a stopped tracee whose registers are ours to lose. */
static int aim(int tid, uint64_t syscall_address, uint64_t nr, uint64_t a, uint64_t b, uint64_t c, lm_error *err)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
        return lm_fail(err, "ptrace(GETREGS)", tid, "cannot aim it at a call");
    regs.rip = syscall_address;
    regs.rax = nr;
    regs.orig_rax = (uint64_t)-1;
    regs.rdi = a;
    regs.rsi = b;
    regs.rdx = c;
    if (ptrace(PTRACE_SETREGS, tid, 0, &regs) < 0)
        return lm_fail(err, "ptrace(SETREGS)", tid, "cannot aim it at a call");
    return 0;
}

int lm_exec_inside(int tid, uint64_t syscall_address, uint64_t room, const char *executable, lm_error *err)
{
    struct {
        uint64_t argv[2], envp[1];
        char path[PATH_BYTES];
    } block = {.argv = {room + offsetof(__typeof__(block), path), 0}};
    struct iovec local = {&block, sizeof block}, remote = {(void *)room, sizeof block};
    struct user_regs_struct regs;
    int status;

    if (strlen(executable) >= PATH_BYTES)
        return lm_refuse(err, "execve", tid, "the path of its executable is too long");
    strcpy(block.path, executable);
    if (process_vm_writev(tid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof block)
        return lm_fail(err, "process_vm_writev", tid, "cannot write the path of its executable");
    if (aim(tid, syscall_address, SYS_execve, block.argv[0], room, room + offsetof(__typeof__(block), envp), err) < 0)
        return -1;
    if (ptrace(PTRACE_SINGLESTEP, tid, 0, 0) < 0 || wait_stop(tid, &status) < 0)
        return lm_fail(err, "ptrace(SINGLESTEP)", tid, "cannot make it exec");
    if (WIFSTOPPED(status) && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8))
        return leave_execve(tid, err);
    if (!WIFSTOPPED(status) || ptrace(PTRACE_GETREGS, tid, 0, &regs) < 0)
        return lm_refuse(err, "execve", tid, "it ended before its program was there (status %#x)", status);
    errno = (int)-(int64_t)regs.rax;
    return lm_fail(err, "execve", tid, "%.150s", executable);
}

int lm_exit_inside(int tid, uint64_t syscall_address, int status, lm_error *err)
{
    struct rlimit no_core = {0, 0};
    int signal = status & 127, seen;

    if (prlimit(tid, RLIMIT_CORE, &no_core, NULL) < 0)
        return lm_fail(err, "prlimit", tid, "cannot keep it from leaving a core file");
    if (signal) {
        /* SIGKILL from here ends any task at once; another one must be let through its mask, and its action is the default after exec or fork
           of a process made so. */
        uint64_t none = 0;

        if (signal != SIGKILL && ptrace(PTRACE_SETSIGMASK, tid, sizeof none, &none) < 0)
            return lm_fail(err, "ptrace(SETSIGMASK)", tid, "cannot let its last signal through");
        if (aim(tid, syscall_address, SYS_kill, (uint64_t)tid, (uint64_t)signal, 0, err) < 0)
            return -1;
    } else if (aim(tid, syscall_address, SYS_exit_group, (uint64_t)(status >> 8 & 255), 0, 0, err) < 0) {
        return -1;
    }
    if (ptrace(PTRACE_CONT, tid, 0, 0) < 0 || wait_stop(tid, &seen) < 0)
        return lm_fail(err, "ptrace(CONT)", tid, "cannot make it end");
    while (WIFSTOPPED(seen)) {
        /* A signal is shown to the tracer first: hand it on. */
        if (ptrace(PTRACE_CONT, tid, 0, seen >> 16 ? 0 : WSTOPSIG(seen)) < 0 || wait_stop(tid, &seen) < 0)
            return lm_fail(err, "ptrace(CONT)", tid, "cannot make it end");
    }
    if ((seen & 0xff7f) != (status & 0xff7f))
        return lm_refuse(err, "wait", tid, "ended with status %#x where %#x was due", seen, status);
    return 0;
}

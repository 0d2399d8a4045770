/* Probes for `lamina check`: by doing, never by version, because features are switched off by configuration, seccomp and rights. */
#include "probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_GET_RSEQ_CONFIGURATION
#define PTRACE_GET_RSEQ_CONFIGURATION 0x420f
#endif
#ifndef PR_SET_MM_MAP_SIZE
#define PR_SET_MM_MAP_SIZE 15
#endif

typedef struct {
    int child;
    int to_child;       /* one byte: touch the page again */
    int from_child;     /* one byte: done */
    volatile char *page;
} probe;

static int wait_stop(int pid)
{
    int status;

    while (waitpid(pid, &status, __WALL) < 0)
        if (errno != EINTR)
            return -1;
    return WIFSTOPPED(status) ? 0 : -1;
}

static int traced_bits(int pid)
{
    uint64_t configuration[4];
    int bits = 0;

    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
        return 0;
    if (ptrace(PTRACE_INTERRUPT, pid, 0, 0) < 0 || wait_stop(pid) < 0)
        return 0;
    bits = LM_CAN_SEIZE;
    if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, pid, sizeof configuration, configuration) >= 0)
        bits |= LM_CAN_RSEQ;
    if (!ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_SUSPEND_SECCOMP))
        bits |= LM_CAN_SUSPEND_SECCOMP;
    ptrace(PTRACE_SETOPTIONS, pid, 0, 0);
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return bits;
}

static int can_getfd(const probe *it)
{
    int pidfd = syscall(SYS_pidfd_open, it->child, 0), copy = -1;

    if (pidfd >= 0) {
        copy = syscall(SYS_pidfd_getfd, pidfd, it->from_child, 0);
        close(pidfd);
    }
    if (copy >= 0)
        close(copy);
    return copy >= 0;
}

static int can_set_tid(void)
{
    pid_t wanted = fork(), got;
    struct clone_args args = {.exit_signal = SIGCHLD};
    int status;

    if (!wanted)
        _exit(0);
    if (wanted < 0 || waitpid(wanted, &status, 0) != wanted)
        return 0;
    /* The number that just became free: whoever takes it meanwhile makes us try in vain, not wrongly. */
    args.set_tid = (uintptr_t)&wanted;
    args.set_tid_size = 1;
    got = syscall(SYS_clone3, &args, sizeof args);
    if (!got)
        _exit(0);
    if (got > 0)
        waitpid(got, &status, 0);
    return got == wanted;
}

static int can_copy_memory(const probe *it)
{
    char byte = 'x';
    struct iovec local = {&byte, 1}, remote = {(void *)it->page, 1};

    return process_vm_writev(it->child, &local, 1, &remote, 1, 0) == 1 && process_vm_readv(it->child, &local, 1, &remote, 1, 0) == 1;
}

static int page_bit(const probe *it, int bit)
{
    char path[40];
    uint64_t entry = 0;
    ssize_t got = -1;
    int pagemap;

    snprintf(path, sizeof path, "/proc/%d/pagemap", it->child);
    pagemap = open(path, O_RDONLY | O_CLOEXEC);
    if (pagemap >= 0) {
        got = pread(pagemap, &entry, sizeof entry, (uintptr_t)it->page / sysconf(_SC_PAGESIZE) * sizeof entry);
        close(pagemap);
    }
    return got == sizeof entry && (entry >> bit & 1);
}

static int touch(const probe *it)
{
    char byte = 1;

    return write(it->to_child, &byte, 1) == 1 && read(it->from_child, &byte, 1) == 1;
}

static int can_soft_dirty(const probe *it)
{
    char path[40];
    int refs, wrote;

    if (!touch(it) || !page_bit(it, 55))
        return 0;
    snprintf(path, sizeof path, "/proc/%d/clear_refs", it->child);
    refs = open(path, O_WRONLY | O_CLOEXEC);
    if (refs < 0)
        return 0;
    wrote = write(refs, "4", 1) == 1;
    close(refs);
    return wrote && !page_bit(it, 55) && touch(it) && page_bit(it, 55);
}

static int has_children_file(int pid)
{
    char path[48];

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    return !access(path, R_OK);
}

static void serve(int from_parent, int to_parent, volatile char *page)
{
    char byte;

    while (read(from_parent, &byte, 1) == 1) {
        (*page)++;
        if (write(to_parent, &byte, 1) != 1)
            break;
    }
    _exit(0);
}

int lm_probe(lm_error *err)
{
    int down[2], up[2], bits = 0, status;
    unsigned size = 0;
    probe it;

    it.page = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (it.page == MAP_FAILED)
        return lm_fail(err, "mmap", 0, "no memory for a probe");
    if (pipe2(down, O_CLOEXEC) < 0) {
        lm_fail(err, "pipe2", 0, "no descriptors for a probe");
        goto no_down;
    }
    if (pipe2(up, O_CLOEXEC) < 0) {
        lm_fail(err, "pipe2", 0, "no descriptors for a probe");
        goto no_up;
    }
    it.child = fork();
    if (!it.child) {
        close(down[1]);
        serve(down[0], up[1], it.page);
    }
    if (it.child < 0) {
        lm_fail(err, "fork", 0, "no process for a probe");
        goto no_child;
    }
    it.to_child = down[1];
    it.from_child = up[0];
    bits |= traced_bits(it.child);
    bits |= can_getfd(&it) ? LM_CAN_GETFD : 0;
    bits |= syscall(SYS_kcmp, getpid(), it.child, KCMP_FILE, (unsigned long)up[0], (unsigned long)up[0]) == 0 ? LM_CAN_KCMP : 0;
    bits |= can_set_tid() ? LM_CAN_SET_TID : 0;
    bits |= can_copy_memory(&it) ? LM_CAN_WRITE_MEMORY : 0;
    bits |= can_soft_dirty(&it) ? LM_CAN_SOFT_DIRTY : 0;
    bits |= has_children_file(it.child) ? LM_CAN_CHILDREN : 0;
    bits |= !prctl(PR_SET_MM, PR_SET_MM_MAP_SIZE, &size, 0, 0) && size ? LM_CAN_SET_MM_MAP : 0;
    kill(it.child, SIGKILL);
    waitpid(it.child, &status, __WALL);
    close(up[0]);
    close(up[1]);
    close(down[0]);
    close(down[1]);
    munmap((void *)it.page, sysconf(_SC_PAGESIZE));
    return bits;
no_child:
    close(up[0]);
    close(up[1]);
no_up:
    close(down[0]);
    close(down[1]);
no_down:
    munmap((void *)it.page, sysconf(_SC_PAGESIZE));
    return -1;
}

/* writers DIR KIND MIB THREADS PAUSE FILE: memory that is written each time another way, by THREADS threads, with up to PAUSE ms of rest.
 *
 *   direct       read(2) with O_DIRECT of FILE, 8 MiB at a time
 *   direct-file  the same, into a private mapping of FILE
 *   vm-self      process_vm_writev(2) to itself
 *   vm-sibling   process_vm_writev(2) by a child
 *   buffered     read(2) of FILE
 *   pipe         readv(2) of a pipe that the same thread fills by write(2)
 *   vmsplice     vmsplice(2) out of a pipe that the same thread fills by splice(2) of FILE
 *   user         plain stores
 *   wait         one thread sleeps in epoll_wait(2) for half a second at a time; "waits" tells the longest of them, ns
 *
 * "state" answers where the memory is and how many writes were made. FILE holds blocks of 8 MiB that differ. */
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "control.h"

/* What is pinned at a time: with less of it, most has landed before it would be copied. */
#define BLOCK (8 << 20)
#define FILE_BLOCKS 5
#define PIPE_BYTES 65536
#define VM_BYTES (1 << 20)

static char *memory, *source;
static const char *kind, *path;
static size_t blocks;
static int threads, owner;
static long rest_us;
static volatile uint64_t *writes, longest;

static void check(int wrong, const char *what)
{
    if (wrong) {
        perror(what);
        _exit(1);
    }
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static int is(const char *name) { return !strcmp(kind, name); }

/* The call pins up to 1,024 pages of the target and then copies. Its source comes from the disk page by page, so they stay pinned for long. */
static void write_vm(int file, char *to, size_t block)
{
    size_t at = block * BLOCK;
    char *from = mmap(NULL, VM_BYTES, PROT_READ, MAP_PRIVATE, file, (off_t)at);
    struct iovec local = {from, VM_BYTES}, remote = {to, VM_BYTES};
    check(from == MAP_FAILED, "mmap");
    /* All of the file: a folio that reaches beyond a range is not dropped. */
    check(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) || madvise(from, VM_BYTES, MADV_RANDOM), "madvise");
    check(process_vm_writev(owner, &local, 1, &remote, 1, 0) != VM_BYTES, "process_vm_writev");
    munmap(from, VM_BYTES);
}

static void through_pipe(const int ends[2], char *to, size_t block, int file)
{
    for (size_t at = 0; at < BLOCK; at += PIPE_BYTES) {
        struct iovec target = {to + at, PIPE_BYTES};
        loff_t from = (loff_t)(block * BLOCK + at);
        if (file >= 0) {
            check(splice(file, &from, ends[1], NULL, PIPE_BYTES, 0) != PIPE_BYTES, "splice");
            check(vmsplice(ends[0], &target, 1, 0) != PIPE_BYTES, "vmsplice");
        } else {
            check(write(ends[1], source + from, PIPE_BYTES) != PIPE_BYTES, "write(pipe)");
            check(readv(ends[0], &target, 1) != PIPE_BYTES, "readv(pipe)");
        }
    }
}

/* One block after the other, in no order: so some are not written again before the next freeze, which would hide that they were lost. */
static void *writer(void *arg)
{
    uint64_t dice = (uint64_t)arg + 1;
    int file = -1, ends[2];

    if (!is("pipe") && !is("user")) {
        file = open(path, O_RDONLY | O_CLOEXEC | (is("direct") || is("direct-file") ? O_DIRECT : 0));
        check(file < 0, path);
    }
    check(pipe(ends) < 0, "pipe");
    for (;;) {
        dice = mix(dice + 0x9e3779b97f4a7c15ULL);
        char *to = memory + dice % blocks * BLOCK;
        size_t block = dice / blocks % FILE_BLOCKS;
        if (is("direct") || is("direct-file") || is("buffered"))
            check(pread(file, to, BLOCK, (off_t)(block * BLOCK)) != BLOCK, "pread");
        else if (is("vm-self") || is("vm-sibling"))
            write_vm(file, to, block);
        else if (is("pipe") || is("vmsplice"))
            through_pipe(ends, to, block, file);
        else if (is("user"))
            memcpy(to, source + block * BLOCK, BLOCK);
        ++*writes;
        if (rest_us)
            control_rest((long)(dice >> 32) % rest_us);
    }
    return NULL;
}

static void *waiter(void *unused)
{
    struct epoll_event event;
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    check(epoll < 0, "epoll_create1");
    for (;;) {
        uint64_t began = now();
        check(epoll_wait(epoll, &event, 1, 500) != 0, "epoll_wait");
        if (now() - began > longest)
            longest = now() - began;
    }
    return unused;
}

static void start_writers(void)
{
    pthread_t thread;

    for (size_t n = 0; n < (size_t)threads; n++)
        check(pthread_create(&thread, NULL, writer, (void *)n) != 0, "pthread_create");
}

int main(int argc, char **argv)
{
    char line[256];
    pthread_t thread;
    int file;

    check(argc < 7, "writers DIR KIND MIB THREADS PAUSE FILE");
    control_init(argv[1]);
    kind = argv[2], path = argv[6];
    blocks = strtoul(argv[3], NULL, 10) * (1 << 20) / BLOCK;
    threads = atoi(argv[4]);
    rest_us = atol(argv[5]) * 1000;
    owner = getpid();
    file = is("direct-file") ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    memory = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | (file < 0 ? MAP_ANONYMOUS : 0), file, 0);
    source = mmap(NULL, FILE_BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    writes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory == MAP_FAILED || source == MAP_FAILED || writes == MAP_FAILED, "mmap");
    for (size_t at = 0; at < blocks * BLOCK; at += 4096)
        memory[at] = 1;
    /* Those that read the file need none: untouched it costs no dump anything. */
    for (size_t at = 0; (is("pipe") || is("user") || is("wait")) && at < FILE_BLOCKS * BLOCK / 8; at++)
        ((uint64_t *)source)[at] = mix(at);
    if (is("vm-sibling")) {
        int child = fork();
        check(child < 0, "fork");
        if (!child) {
            prctl(PR_SET_PDEATHSIG, 9);
            start_writers();
            for (;;)
                pause();
        }
    } else if (is("wait")) {
        check(pthread_create(&thread, NULL, waiter, NULL) != 0, "pthread_create");
        kind = "user";
        start_writers();
    } else {
        start_writers();
    }
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "waits"))
                control_reply("{\"longest\": %lu}", longest);
            else
                control_reply("{\"memory\": %lu, \"size\": %lu, \"writes\": %lu}", (uint64_t)memory, (uint64_t)blocks * BLOCK, *writes);
        }
        control_rest(2000);
    }
}

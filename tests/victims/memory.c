/* memory: does to its own memory what it is told, one line on standard input each, and answers one line when it is done.
 *
 *   map BYTES KIND        KIND small (MADV_NOHUGEPAGE), huge (MADV_HUGEPAGE, 2 MiB aligned), none (PROT_NONE)      → address
 *   file PATH BYTES HOW   HOW private or shared                                                                    → address
 *   write ADDR COUNT STRIDE VALUE    one byte VALUE every STRIDE bytes                                             → ok
 *   read ADDR COUNT STRIDE           sum of those bytes                                                            → sum
 *   advise ADDR BYTES ADVICE         madvise(2) by number                                                          → result
 *   move ADDR OLD NEW     mremap to another place / grow ADDR OLD NEW: in place or fail                            → address
 *   remap ADDR BYTES      munmap and mmap again at the same place                                                  → address
 *   protect ADDR BYTES PROT                                                                                        → result
 *   unmap ADDR BYTES                                                                                               → result
 *   brk BYTES             sbrk                                                                                     → old break
 *   dup N                 N copies of standard input                                                               → the last number
 *   fork                  a child that answers in its place on the same pipes until it is told `quit`              → pid
 *   uffd                  userfaultfd(2) with lamina's flags, features set                                         → descriptor
 *   plain-uffd            the same for its own use, with no features                                               → descriptor
 *   storm ADDR BYTES N    N threads write random cells until `calm`; each cell is {thread and count}               → ok
 *   calm                                                                                                           → writes made
 *   exec                  become a fresh copy of itself                                                            → ready
 *   quit */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#define HUGE (2UL << 20)

static struct storm { pthread_t thread; uint64_t seed, writes, base, bytes; } storms[8];
static int storming;
static volatile int blowing;

static void *blow(void *argument)
{
    struct storm *storm = argument;
    uint64_t x = storm->seed * 0x9e3779b97f4a7c15ULL;
    while (blowing) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        *(volatile uint64_t *)(storm->base + x % (storm->bytes / 8) * 8) = storm->seed << 56 | ++storm->writes;
    }
    return NULL;
}

static void *map(size_t bytes, const char *kind)
{
    int prot = strcmp(kind, "none") ? PROT_READ | PROT_WRITE : PROT_NONE;
    char *at = mmap(NULL, bytes + 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *aligned = (char *)(((uintptr_t)at + HUGE - 1) & ~(HUGE - 1));
    /* A gap stays on both sides: what is mapped here merges with nothing. */
    munmap(at, bytes + 2 * HUGE);
    at = mmap(aligned, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    if (!strcmp(kind, "huge"))
        madvise(at, bytes, MADV_HUGEPAGE);
    else
        madvise(at, bytes, MADV_NOHUGEPAGE);
    return at;
}

static long uffd(uint64_t features)
{
    long fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
    struct uffdio_api api = { .api = UFFD_API, .features = features };
    if (fd >= 0)
        ioctl((int)fd, UFFDIO_API, &api);
    return fd;
}

int main(int argc, char **argv)
{
    char line[4096], word[32], text[4096];
    unsigned long a, b, c, d;
    (void)argc;
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        long answer = 0;
        if (sscanf(line, "map %lu %31s", &a, word) == 2)
            answer = (long)map(a, word);
        else if (sscanf(line, "file %4095s %lu %31s", text, &a, word) == 3) {
            int fd = open(text, O_RDWR | O_CLOEXEC);
            answer = (long)mmap(NULL, a, PROT_READ | PROT_WRITE, strcmp(word, "shared") ? MAP_PRIVATE : MAP_SHARED, fd, 0);
            close(fd);
        } else if (sscanf(line, "write %lu %lu %lu %lu", &a, &b, &c, &d) == 4)
            for (unsigned long i = 0; i < b; i++)
                ((volatile char *)a)[i * c] = (char)d;
        else if (sscanf(line, "read %lu %lu %lu", &a, &b, &c) == 3)
            for (unsigned long i = 0; i < b; i++)
                answer += ((volatile unsigned char *)a)[i * c];
        else if (sscanf(line, "advise %lu %lu %lu", &a, &b, &c) == 3)
            answer = madvise((void *)a, b, (int)c) ? -errno : 0;
        else if (sscanf(line, "move %lu %lu %lu", &a, &b, &c) == 3) {
            void *place = map(c, "small");
            answer = (long)mremap((void *)a, b, c, MREMAP_MAYMOVE | MREMAP_FIXED, place);
        } else if (sscanf(line, "grow %lu %lu %lu", &a, &b, &c) == 3)
            answer = (long)mremap((void *)a, b, c, 0);
        else if (sscanf(line, "remap %lu %lu", &a, &b) == 2) {
            munmap((void *)a, b);
            answer = (long)mmap((void *)a, b, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        } else if (sscanf(line, "protect %lu %lu %lu", &a, &b, &c) == 3)
            answer = mprotect((void *)a, b, (int)c);
        else if (sscanf(line, "unmap %lu %lu", &a, &b) == 2)
            answer = munmap((void *)a, b);
        else if (sscanf(line, "brk %lu", &a) == 1)
            answer = (long)sbrk((intptr_t)a);
        else if (sscanf(line, "dup %lu", &a) == 1)
            while (a-- > 0)
                answer = dup(0);
        else if (sscanf(line, "storm %lu %lu %lu", &a, &b, &c) == 3) {
            blowing = 1;
            for (storming = 0; storming < (int)c && storming < 8; storming++) {
                storms[storming] = (struct storm){ .seed = (uint64_t)storming + 1, .base = a, .bytes = b };
                pthread_create(&storms[storming].thread, NULL, blow, &storms[storming]);
            }
        } else if (!strcmp(line, "calm\n")) {
            blowing = 0;
            for (int i = 0; i < storming; i++) {
                pthread_join(storms[i].thread, NULL);
                answer += (long)storms[i].writes;
            }
            storming = 0;
        } else if (!strcmp(line, "fork\n")) {
            pid_t child = fork();
            if (child)
                waitpid(child, NULL, 0);
            answer = child ? 0 : getpid();
        } else if (!strcmp(line, "uffd\n"))
            answer = uffd(0xa000);
        else if (!strcmp(line, "plain-uffd\n"))
            answer = uffd(0);
        else if (!strcmp(line, "exec\n"))
            execv("/proc/self/exe", argv);
        else
            break;
        printf("%ld\n", answer);
        fflush(stdout);
    }
    if (!strcmp(line, "quit\n"))
        printf("bye\n");
    return 0;
}

/* changing DIR: does to itself what it is told, and nothing else; each answer is {"result": N}.
 *
 *   map PAGES                  anonymous memory, every page written; a gap stays on both sides      → address
 *   write ADDR PAGE VALUE      one byte VALUE in the middle of that page
 *   rewrite ADDR PAGE          the byte that is there, again: written, and the same
 *   drop ADDR PAGE             MADV_DONTNEED
 *   protect ADDR PAGE PAGES    read only
 *   unmap ADDR PAGE PAGES
 *   open NAME                  a file in DIR, which it makes                                        → descriptor
 *   append FD                  ten bytes
 *   close FD
 *   thread                     one more, which sleeps until `calm`                                  → its id
 *   calm                       and waits until it has ended
 *   fork                       a child that sleeps                                                  → its pid
 *   state                      its pid */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "control.h"

#define PAGE 4096UL

static pthread_t sleeper;
static volatile int sleeping, sleeper_id;

static void *sleep_until_calm(void *arg)
{
    sleeper_id = (int)syscall(SYS_gettid);
    while (sleeping)
        control_rest(1000);
    return arg;
}

static char *map(unsigned long pages)
{
    char *at = mmap(NULL, (pages + 32) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    char *inner = at + 16 * PAGE;

    munmap(at, (pages + 32) * PAGE);
    inner = mmap(inner, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (inner == MAP_FAILED)
        abort();
    madvise(inner, pages * PAGE, MADV_NOHUGEPAGE);
    for (unsigned long page = 0; page < pages; page++)
        snprintf(inner + page * PAGE, 32, "page %lu", page);
    return inner;
}

static long act(const char *dir, const char *line)
{
    unsigned long address, page, pages, value;
    char name[256], path[4400];

    if (sscanf(line, "map %lu", &pages) == 1)
        return (long)map(pages);
    if (sscanf(line, "write %lu %lu %lu", &address, &page, &value) == 3) {
        *(volatile char *)(address + page * PAGE + PAGE / 2) = (char)value;
        return 0;
    }
    if (sscanf(line, "rewrite %lu %lu", &address, &page) == 2) {
        volatile char *at = (volatile char *)(address + page * PAGE + PAGE / 2);
        *at = *at;
        return 0;
    }
    if (sscanf(line, "drop %lu %lu", &address, &page) == 2)
        return madvise((void *)(address + page * PAGE), PAGE, MADV_DONTNEED);
    if (sscanf(line, "protect %lu %lu %lu", &address, &page, &pages) == 3)
        return mprotect((void *)(address + page * PAGE), pages * PAGE, PROT_READ);
    if (sscanf(line, "unmap %lu %lu %lu", &address, &page, &pages) == 3)
        return munmap((void *)(address + page * PAGE), pages * PAGE);
    if (sscanf(line, "open %255s", name) == 1) {
        snprintf(path, sizeof path, "%s/%s", dir, name);
        return open(path, O_RDWR | O_CREAT, 0600);
    }
    if (sscanf(line, "append %lu", &value) == 1)
        return write((int)value, "0123456789", 10);
    if (sscanf(line, "close %lu", &value) == 1)
        return close((int)value);
    if (!strcmp(line, "thread")) {
        sleeping = 1;
        sleeper_id = 0;
        pthread_create(&sleeper, NULL, sleep_until_calm, NULL);
        while (!sleeper_id)
            control_rest(100);
        return sleeper_id;
    }
    if (!strcmp(line, "calm")) {
        sleeping = 0;
        return pthread_join(sleeper, NULL);
    }
    if (!strcmp(line, "fork")) {
        pid_t child = fork();

        while (!child)
            control_rest(1000000);
        return child;
    }
    return getpid();
}

int main(int argc, char **argv)
{
    char line[512];

    if (argc < 2)
        return 2;
    control_init(argv[1]);
    for (;;) {
        if (control_question(line, sizeof line))
            control_reply("{\"result\": %ld}", act(argv[1], line));
        control_rest(2000);
    }
}

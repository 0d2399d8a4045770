/* bench_victim DIR MIB: MIB of memory in 4 KiB pages, and a thread that stamps CLOCK_MONOTONIC and keeps the gaps it saw.
 *
 *   write N SEED   write N scattered pages
 *   watch          start stamping, forget the gaps
 *   gap            stop stamping; the largest gap, and the sum of those over GAP_NS: how long it stood still in all, ns
 *   limits         what this machine needs, ns, for MIB of memory: copying it warm, copying it into fresh memory
 *   state          a digest of all memory */
#include <pthread.h>
#include <sys/mman.h>

#include "control.h"

/* Shorter ones are interrupts of the machine's own. */
#define GAP_NS 20000

static char *memory;
static size_t pages;
static volatile int watching;
static volatile uint64_t gap, gaps;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void *stamp(void *unused)
{
    for (;;) {
        uint64_t last = now();
        while (watching) {
            uint64_t at = now();
            if (at - last > gap)
                gap = at - last;
            if (at - last > GAP_NS)
                gaps += at - last;
            last = at;
        }
        control_rest(1000);
    }
    return unused;
}

static char *fresh(void)
{
    char *new = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (new == MAP_FAILED)
        abort();
    return new;
}

static void limits(void)
{
    char *to = fresh();
    uint64_t a = now();
    memcpy(to, memory, pages << 12);
    uint64_t b = now();
    memcpy(to, memory, pages << 12);
    uint64_t c = now();
    munmap(to, pages << 12);
    control_reply("{\"fresh\": %lu, \"warm\": %lu}", b - a, c - b);
}

int main(int argc, char **argv)
{
    char line[256];
    size_t n, seed;
    pthread_t thread;
    control_init(argv[1]);
    pages = (argc > 2 ? strtoul(argv[2], NULL, 10) : 64) << 8;
    memory = fresh();
    for (size_t page = 0; page < pages; page++)
        *(uint64_t *)(memory + (page << 12)) = mix(page);
    pthread_create(&thread, NULL, stamp, NULL);
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (sscanf(line, "write %zu %zu", &n, &seed) == 2) {
                for (size_t k = 0; k < n; k++)
                    *(uint64_t *)(memory + (mix(seed << 32 | k) % pages << 12)) += k | 1;
                control_reply("{}");
            } else if (!strcmp(line, "watch")) {
                gap = gaps = 0;
                watching = 1;
                control_reply("{}");
            } else if (!strcmp(line, "gap")) {
                watching = 0;
                control_reply("{\"gap\": %lu, \"gaps\": %lu}", gap, gaps);
            } else if (!strcmp(line, "limits")) {
                limits();
            } else {
                uint64_t digest = 0;
                for (size_t page = 0; page < pages; page++)
                    digest = mix(digest ^ *(uint64_t *)(memory + (page << 12)));
                control_reply("{\"digest\": \"%016lx\"}", digest);
            }
        }
        control_rest(2000);
    }
}

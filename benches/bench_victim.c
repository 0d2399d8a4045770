/* bench_victim DIR MIB [TASKS]: MIB of memory in 4 KiB pages, and a thread that stamps CLOCK_MONOTONIC and keeps the gaps it saw.
 *
 *   write N SEED   write N scattered pages
 *   watch          start stamping, forget the gaps
 *   gap            stop stamping; the largest gap, and the sum of those over GAP_NS: how long it stood still in all, ns
 *   limits         what this machine needs, ns, for MIB of memory: copying it warm, copying it into fresh memory
 *   state          a digest of all memory
 *
 * With TASKS the memory is shared by so many processes, each of which writes its part. */
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "control.h"

/* Shorter ones are interrupts of the machine's own. */
#define GAP_NS 20000

/* Of a write that all tasks take part in. */
static struct orders {
    volatile size_t sequence, count, seed, done[64];
} *orders;

static char *memory;
static size_t tasks = 1;
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

static char *mapped(int how)
{
    char *new = mmap(NULL, pages << 12, PROT_READ | PROT_WRITE, how | MAP_ANONYMOUS, -1, 0);
    if (new == MAP_FAILED)
        abort();
    return new;
}

static char *fresh(void) { return mapped(MAP_PRIVATE); }

static void write_part(size_t who, size_t count, size_t seed)
{
    for (size_t k = who; k < count; k += tasks)
        *(uint64_t *)(memory + (mix(seed << 32 | k) % pages << 12)) += k | 1;
}

static void write_all(size_t count, size_t seed)
{
    orders->count = count;
    orders->seed = seed;
    orders->sequence++;
    write_part(0, count, seed);
    for (size_t who = 1; who < tasks; who++)
        while (orders->done[who] < orders->sequence)
            control_rest(100);
}

static void serve(size_t who)
{
    for (;;) {
        if (orders->done[who] < orders->sequence) {
            write_part(who, orders->count, orders->seed);
            orders->done[who] = orders->sequence;
        }
        control_rest(1000);
    }
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
    tasks = argc > 3 ? strtoul(argv[3], NULL, 10) : 1;
    memory = mapped(tasks > 1 ? MAP_SHARED : MAP_PRIVATE);
    orders = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, (tasks > 1 ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);
    for (size_t page = 0; page < pages; page++)
        *(uint64_t *)(memory + (page << 12)) = mix(page);
    for (size_t who = 1; who < tasks; who++)
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            serve(who);
        }
    pthread_create(&thread, NULL, stamp, NULL);
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (sscanf(line, "write %zu %zu", &n, &seed) == 2) {
                write_all(n, seed);
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

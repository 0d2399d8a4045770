/* cells DIR MIB: one thread over MIB of memory, one cell per page, written on request or all the time.
 *
 * Every cell carries the number of the step that wrote it and a seal over page, step and value; a second array elsewhere remembers which step wrote
 * each page last. So a page that is stale, lost or from another moment than the rest is found from memory alone.
 *
 *   write N SEED    write N distinct pages         → pages written so far
 *   run / rest      write a page every ~20 µs / stop
 *   drop N          MADV_DONTNEED on the first N pages (they are zero then)
 *   grow MIB        map MIB more and write every page of it
 *   state           step, digest of all cells, number of wrong cells */
#include <sys/mman.h>

#include "control.h"

#define PAGE 4096
struct cell { uint64_t step, value, seal; };
struct arena { char *base; uint64_t *last; size_t pages; };

static struct arena arenas[16];
static int count;
static uint64_t step;

static uint64_t seal_of(int a, size_t page, uint64_t at, uint64_t value) { return mix(value ^ mix(at ^ mix(page ^ (uint64_t)a << 48))); }

static void add_arena(size_t mib)
{
    struct arena *new = &arenas[count++];
    new->pages = mib << 8;
    new->base = mmap(NULL, new->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    new->last = mmap(NULL, new->pages * sizeof *new->last, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (new->base == MAP_FAILED || new->last == MAP_FAILED)
        abort();
}

static void write_cell(int a, size_t page)
{
    struct cell *cell = (struct cell *)(arenas[a].base + page * PAGE + mix(page) % (PAGE / 64) * 64);
    step++;
    arenas[a].last[page] = step;
    cell->step = step;
    cell->value = mix(step);
    cell->seal = seal_of(a, page, step, cell->value);
}

static void look(uint64_t *digest, size_t *wrong)
{
    *digest = step;
    *wrong = 0;
    for (int a = 0; a < count; a++)
        for (size_t page = 0; page < arenas[a].pages; page++) {
            struct cell *cell = (struct cell *)(arenas[a].base + page * PAGE + mix(page) % (PAGE / 64) * 64);
            uint64_t last = arenas[a].last[page];
            if (cell->step != last || (last && (cell->value != mix(last) || cell->seal != seal_of(a, page, last, cell->value))))
                ++*wrong;
            *digest = mix(*digest ^ cell->step ^ cell->value << 1 ^ cell->seal << 2);
        }
}

static void answer(char *line, int *running)
{
    size_t n = 0, seed = 0, wrong;
    uint64_t digest;
    if (sscanf(line, "write %zu %zu", &n, &seed) == 2) {
        /* A stride that shares no factor with the (even) number of pages visits each page once. */
        size_t stride = mix(seed) % arenas[0].pages | 1;
        while (__builtin_popcountll(arenas[0].pages) != 1 && arenas[0].pages % stride == 0 && stride > 1)
            stride += 2;
        for (size_t k = 0; k < n && k < arenas[0].pages; k++)
            write_cell(0, (mix(seed) + k * stride) % arenas[0].pages);
        control_reply("{\"step\": %lu}", step);
    } else if (sscanf(line, "drop %zu", &n) == 1) {
        madvise(arenas[0].base, n * PAGE, MADV_DONTNEED);
        memset(arenas[0].last, 0, n * sizeof(uint64_t));
        control_reply("{}");
    } else if (sscanf(line, "grow %zu", &n) == 1) {
        add_arena(n);
        for (size_t page = 0; page < arenas[count - 1].pages; page++)
            write_cell(count - 1, page);
        control_reply("{}");
    } else if (!strcmp(line, "run") || !strcmp(line, "rest")) {
        *running = line[1] == 'u';
        control_reply("{}");
    } else {
        look(&digest, &wrong);
        control_reply("{\"step\": %lu, \"digest\": \"%016lx\", \"wrong\": %zu, \"pages\": %zu}", step, digest, wrong, arenas[0].pages);
    }
}

int main(int argc, char **argv)
{
    char line[256];
    int running = 0;
    control_init(argv[1]);
    add_arena(argc > 2 ? strtoul(argv[2], NULL, 10) : 16);
    for (size_t page = 0; page < arenas[0].pages; page++)
        write_cell(0, page);
    for (;;) {
        if (control_question(line, sizeof line))
            answer(line, &running);
        if (running && !control_held())
            for (int k = 0; k < 64; k++)
                write_cell(0, mix(step) % arenas[0].pages);
        control_rest(running ? 1000 : 2000);
    }
}

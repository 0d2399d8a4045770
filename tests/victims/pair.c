/* pair DIR PAGES: two threads that check themselves, for images small enough to keep.
 *
 * The first answers and owns PAGES pages with a sealed cell each, written on request; the second walks a chain, a step a millisecond, with the
 * number of steps kept twice: in memory and, sealed, in a ring of its own.
 *
 *   write N SEED    write N cells                  → step
 *   state           step, digest and number of wrong cells; beats of the second thread, and whether its chain and ring are whole */
#include <pthread.h>
#include <sys/mman.h>

#include "control.h"

#define PAGE 4096
#define RING 16
struct cell { uint64_t step, value, seal; };

static char *base;
static uint64_t *last, step;
static size_t pages;
static struct { uint64_t beats, value; } chain, *ring;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *walk(void *unused)
{
    for (;; control_rest(1000)) {
        if (control_held())
            continue;
        pthread_mutex_lock(&lock);
        chain.value = mix(chain.value ^ ++chain.beats);
        ring[chain.beats % RING * (PAGE / sizeof *ring)] = chain;
        pthread_mutex_unlock(&lock);
    }
    return unused;
}

static int chain_wrong(void)
{
    uint64_t value = 0, wrong = 0;
    for (uint64_t n = 1; n <= chain.beats; n++) {
        value = mix(value ^ n);
        if (n + RING > chain.beats && (ring[n % RING * (PAGE / sizeof *ring)].beats != n || ring[n % RING * (PAGE / sizeof *ring)].value != value))
            wrong++;
    }
    return wrong + (value != chain.value);
}

static struct cell *cell_of(size_t page) { return (struct cell *)(base + page * PAGE + mix(page) % (PAGE / 64) * 64); }
static uint64_t seal_of(size_t page, uint64_t at, uint64_t value) { return mix(value ^ mix(at ^ mix(page))); }

static void write_cell(size_t page)
{
    struct cell *cell = cell_of(page);
    last[page] = cell->step = ++step;
    cell->value = mix(step);
    cell->seal = seal_of(page, step, cell->value);
}

static void answer(const char *line)
{
    size_t n, seed, wrong = 0;
    if (sscanf(line, "write %zu %zu", &n, &seed) == 2) {
        for (size_t k = 0; k < n; k++)
            write_cell(mix(seed + k) % pages);
        control_reply("{\"step\": %lu}", step);
        return;
    }
    uint64_t digest = step;
    for (size_t page = 0; page < pages; page++) {
        struct cell *cell = cell_of(page);
        wrong += cell->step != last[page] || cell->value != mix(last[page]) || cell->seal != seal_of(page, last[page], cell->value);
        digest = mix(digest ^ cell->step ^ cell->value << 1 ^ cell->seal << 2);
    }
    pthread_mutex_lock(&lock);
    control_reply("{\"step\": %lu, \"digest\": \"%016lx\", \"wrong\": %zu, \"beats\": %lu, \"chain_wrong\": %d}", step, digest, wrong, chain.beats,
                  chain_wrong());
    pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
    char line[256];
    pthread_t thread;
    control_init(argv[1]);
    pages = argc > 2 ? strtoul(argv[2], NULL, 10) : 64;
    base = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    last = calloc(pages, sizeof *last);
    ring = mmap(NULL, RING * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED || !last || (void *)ring == MAP_FAILED || pthread_create(&thread, NULL, walk, NULL))
        abort();
    for (size_t page = 0; page < pages; page++)
        write_cell(page);
    for (;; control_rest(2000))
        if (control_question(line, sizeof line))
            answer(line);
}

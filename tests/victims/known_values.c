/* known_values DIR: globals, heap, a private file mapping and three threads whose values follow from one number.
 *
 *   set N     every value becomes that of N     → where they are: addresses
 *   state     N, and the same addresses
 *
 * Two threads wait in functions with names of their own, with a value of N in their frames. DIR/mapped holds the mapping's file. */
#include <pthread.h>
#include <sys/mman.h>

#include "control.h"

#define PAGE 4096
#define MAPPED_PAGES 8
#define WRITTEN_PAGE 3

volatile long known_number = 1;
volatile double known_ratio = 0.5;
char known_text[64] = "initial";
char *known_heap;
char *known_mapping;
/* Never written: only the program's own file has it. */
const char known_constant[] = "a constant of the program";
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;

__attribute__((noinline)) void wait_in_alpha(void)
{
    pthread_mutex_lock(&turn);
    for (;;)
        pthread_cond_wait(&turned, &turn);
}

__attribute__((noinline)) void sleep_in_beta(void)
{
    for (;;) {
        control_rest(3600000000L);
        __asm__ volatile("" ::: "memory");
    }
}

static void *alpha(void *arg) { wait_in_alpha(); return arg; }
static void *beta(void *arg) { sleep_in_beta(); return arg; }

static void set(long n)
{
    known_number = n * 1000003;
    known_ratio = n + 0.25;
    snprintf(known_text, sizeof known_text, "global text of step %ld", n);
    snprintf(known_heap + 100 * PAGE, 64, "heap text of step %ld", n);
    snprintf(known_mapping + WRITTEN_PAGE * PAGE, 64, "mapped text of step %ld", n);
}

int main(int argc, char **argv)
{
    char line[256], path[4200];
    long n = 0;
    pthread_t threads[2];
    (void)argc;
    control_init(argv[1]);
    snprintf(path, sizeof path, "%s/mapped", argv[1]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    known_mapping = mmap(NULL, MAPPED_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    close(fd);
    known_heap = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (known_mapping == MAP_FAILED || known_heap == MAP_FAILED)
        abort();
    pthread_create(&threads[0], NULL, alpha, NULL);
    pthread_create(&threads[1], NULL, beta, NULL);
    set(0);
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (sscanf(line, "set %ld", &n) == 1)
                set(n);
            control_reply("{\"n\": %ld, \"number\": %lu, \"ratio\": %lu, \"text\": %lu, \"heap\": %lu, \"mapping\": %lu, \"constant\": %lu}", n,
                          (unsigned long)&known_number, (unsigned long)&known_ratio, (unsigned long)known_text, (unsigned long)known_heap,
                          (unsigned long)known_mapping, (unsigned long)known_constant);
        }
        control_rest(2000);
    }
}

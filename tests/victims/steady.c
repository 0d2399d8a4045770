/* Two threads that notice if anybody disturbs them. One sleeps and counts sleeps that came back early or failed; one computes in registers
   and flags and counts wrong results. What they counted lies in a shared file mapping, which the test reads: argv[1], five uint64_t.
   argv[2] "handled": it handles every signal that can be, as a Go program does, and the last of them counts the handlers' runs; "ignored":
   it ignores all of them. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct counts {
    volatile uint64_t sleeps, bad_sleeps, rounds, bad_rounds, handled;
};
static struct counts *shared;

static void on_signal(int number)
{
    (void)number;
    __atomic_add_fetch(&shared->handled, 1, __ATOMIC_RELAXED);
}

static void *sleeper(void *arg)
{
    struct counts *c = arg;

    for (;;) {
        struct timespec nap = {0, 100000000}, before, after;
        int failed;

        clock_gettime(CLOCK_MONOTONIC, &before);
        failed = nanosleep(&nap, NULL) != 0;
        clock_gettime(CLOCK_MONOTONIC, &after);
        if (failed || (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec < nap.tv_nsec)
            c->bad_sleeps++;
        c->sleeps++;
    }
    return NULL;
}

static void compute(struct counts *c)
{
    for (;;) {
        uint64_t flags_bad, sum;

        /* All flags a batch puts back are live across this loop: carry in the adc chain, overflow and sign in the final test. */
        __asm__ volatile("mov $100000, %%rcx\n"
                         "xor %%rax, %%rax\n"
                         "mov $-1, %%rdx\n"
                         "stc\n"
                         "1: adc $0, %%rax\n"
                         "   inc %%rdx\n"
                         "   mov %%rdx, %%rsi\n"
                         "   lea -1(%%rcx), %%rcx\n"
                         "   stc\n"
                         "   jrcxz 2f\n"
                         "   jmp 1b\n"
                         "2: mov %%rax, %0\n"
                         "   xor %%rbx, %%rbx\n"
                         "   mov $0x7fffffffffffffff, %%rdx\n"
                         "   add $1, %%rdx\n"
                         "   mov $20000, %%rcx\n"
                         "3: lea -1(%%rcx), %%rcx\n"
                         "   jrcxz 4f\n"
                         "   jmp 3b\n"
                         "4: jo 5f\n"
                         "   inc %%rbx\n"
                         "5: mov %%rbx, %1\n"
                         : "=r"(sum), "=r"(flags_bad)
                         :
                         : "rax", "rbx", "rcx", "rdx", "rsi", "cc");
        if (sum != 100000 || flags_bad)
            c->bad_rounds++;
        c->rounds++;
    }
}

int main(int argc, char **argv)
{
    int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;
    struct counts *c;
    pthread_t thread;

    if (fd < 0 || ftruncate(fd, 4096))
        return 2;
    c = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shared = c;
    for (int number = 1; c != MAP_FAILED && argc > 2 && number <= 64; number++)
        signal(number, argv[2][0] == 'h' ? on_signal : SIG_IGN); /* which SIGKILL, SIGSTOP and two of the C library's own refuse */
    if (c == MAP_FAILED || pthread_create(&thread, NULL, sleeper, c))
        return 2;
    compute(c);
    return 0;
}

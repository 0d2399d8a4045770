/* Starts and joins short-lived threads without end, 20 alive at a time, and signals itself: nothing about it is still when it is frozen.
   argv[1]: shared file with two uint64_t: threads finished, signals handled. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define ALIVE 20

static struct counts {
    volatile uint64_t threads, signals;
} *counts;

static void on_alarm(int signal)
{
    (void)signal;
    counts->signals++;
}

static void *brief(void *arg)
{
    for (volatile int i = 0; i < 20000; i++)
        ;
    __atomic_add_fetch(&counts->threads, 1, __ATOMIC_RELAXED);
    return arg;
}

int main(int argc, char **argv)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    struct itimerval every = {{0, 500}, {0, 500}};
    int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;
    pthread_t threads[ALIVE];

    if (fd < 0 || ftruncate(fd, 4096))
        return 2;
    counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (counts == MAP_FAILED || sigaction(SIGALRM, &action, NULL) || setitimer(ITIMER_REAL, &every, NULL))
        return 2;
    for (int i = 0; i < ALIVE; i++)
        if (pthread_create(&threads[i], NULL, brief, NULL))
            return 3;
    for (int i = 0;; i = (i + 1) % ALIVE) {
        pthread_join(threads[i], NULL);
        if (pthread_create(&threads[i], NULL, brief, NULL))
            return 3;
    }
}

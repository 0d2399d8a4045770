/* kind_shared_memory DIR: a parent and two children that write into memory they share, and look whether it is still what it was.

   Each page of the first object belongs to one of the three: its writer fills it with the number of its step. A second object is mapped
   twice in the parent, at other addresses and once for reading only, has a part that nobody maps, pages that were punched out (MADV_REMOVE)
   and read again, and others that stay holes. state: how many steps all three have written, and what is wrong; hidden: the same, looking also behind what is mapped. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "control.h"

enum { PAGE = 4096, PAGES = 600, OTHER = 64, WRITERS = 3 };

struct head {
    volatile uint64_t wanted, done[WRITERS];
};

static char *shared, *twice, *again;
static struct head *head;

static void fill(int who, uint64_t step)
{
    for (int page = 1 + who; page < PAGES; page += WRITERS) {
        /* Some pages rarely change, so that increments inherit them. */
        if (page % 16 > 2 && step > 1)
            continue;
        for (int at = 0; at < PAGE / 8; at++)
            ((volatile uint64_t *)(shared + (size_t)page * PAGE))[at] = step ^ (uint64_t)page << 32;
    }
    head->done[who] = step;
}

static void child(int who)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) {
        if (head->done[who] < head->wanted)
            fill(who, head->wanted);
        else
            usleep(300);
    }
}

static const char *wrong(uint64_t step)
{
    for (int page = 1; page < PAGES; page++) {
        uint64_t last = page % 16 > 2 && step > 1 ? 1 : step;

        for (int at = 0; at < PAGE / 8; at++)
            if (((uint64_t *)(shared + (size_t)page * PAGE))[at] != (last ^ (uint64_t)page << 32))
                return "a page of the three";
    }
    if (memcmp(twice, again, 8 * PAGE))
        return "what is mapped twice differs";
    for (int at = 0; at < 8 * PAGE; at++)
        if (twice[at] != (at / PAGE == 3 || at / PAGE == 4 ? 0 : 'a' + at / PAGE))
            return "what is mapped twice";
    twice[5 * PAGE]++;
    if (again[5 * PAGE] != 'f' + 1)
        return "the second mapping does not see the first";
    twice[5 * PAGE]--;
    return "";
}

/* What lies behind the part that is mapped comes back when the mapping grows. */
static const char *hidden(void)
{
    char *whole = mremap(again, 8 * PAGE, OTHER * PAGE, MREMAP_MAYMOVE), *where;
    const char *found = "";

    if (whole == MAP_FAILED)
        return "the mapping does not grow";
    for (int page = 32; page < OTHER; page++)
        if (whole[page * PAGE] != (page % 8 ? 'x' : 0))
            found = "what nobody mapped";
    where = mremap(whole, OTHER * PAGE, 8 * PAGE, 0);
    again = where == MAP_FAILED ? whole : where;
    return found;
}

static void make_second(void)
{
    char *whole = mmap(NULL, OTHER * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), path[80];
    int fd;

    for (int page = 0; page < 8; page++)
        memset(whole + page * PAGE, 'a' + page, PAGE);
    for (int page = 32; page < OTHER; page++)
        if (page % 8)
            whole[page * PAGE] = 'x';
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", (long)whole, (long)whole + OTHER * PAGE);
    fd = open(path, O_RDWR);
    twice = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    again = mmap(NULL, 8 * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    if (fd < 0 || twice == MAP_FAILED || again == MAP_FAILED)
        exit(5);
    close(fd);
    munmap(whole, OTHER * PAGE);
    madvise(twice + 3 * PAGE, 2 * PAGE, MADV_REMOVE);
}

int main(int argc, char **argv)
{
    char question[64];
    uint64_t step = 0;

    (void)argc;
    control_init(argv[1]);
    shared = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    head = (struct head *)shared;
    make_second();
    for (int who = 1; who < WRITERS; who++)
        if (!fork())
            child(who);
    for (;;) {
        if (head->done[1] == step && head->done[2] == step && control_question(question, sizeof question)) {
            const char *why = wrong(step);

            if (!*why && !strcmp(question, "hidden"))
                why = hidden();
            /* Punched and read again: zero, and no write that anybody would see. */
            madvise(twice + 3 * PAGE, PAGE, MADV_REMOVE);
            control_reply("{\"steps\": %lu, \"wrong\": \"%s\"}", (unsigned long)step, why);
        }
        if (head->done[1] == step && head->done[2] == step && !control_held()) {
            head->wanted = ++step;
            fill(0, step);
        }
        if (waitpid(-1, NULL, WNOHANG) > 0)
            return 3;
        usleep(300);
    }
}

/* shared_steps DIR: up to five processes that map, unmap, move, write, punch and fork over shared anonymous memory, step by step.

   The question "steps COUNT SEED" is answered when so many steps were made; then all of them are still. Steps come from the seed. The parent
   posts each step to one process in memory that all share, which makes it and says so. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "control.h"

enum { PAGE = 4096, PROCESSES = 5, MAPPINGS = 24, LARGEST = 48 };

static struct mailbox {
    volatile int turn;                /* whose step it is; -1: nobody's */
    volatile uint64_t dice;           /* of this step */
    volatile int alive[PROCESSES], children[PROCESSES];
} *mail;

static struct mapping {
    char *at;
    size_t pages;
    int writable;
} mappings[MAPPINGS];

static int count, me;

static uint64_t roll(uint64_t *dice, uint64_t below)
{
    *dice = mix(*dice + 0x9e3779b97f4a7c15ULL);
    return *dice % below;
}

static void keep(void *at, size_t pages, int writable)
{
    if (at == MAP_FAILED || count == MAPPINGS)
        return;
    mappings[count++] = (struct mapping){ at, pages, writable };
}

static void drop(int which) { mappings[which] = mappings[--count]; }

static void serve(void);

static void fork_one(void)
{
    for (int who = 1; who < PROCESSES; who++) {
        if (mail->alive[who])
            continue;
        mail->alive[who] = 1;
        mail->children[who] = 0;
        mail->children[me]++;
        if (!fork()) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            me = who;
            serve();
        }
        return;
    }
}

static void one_step(void)
{
    uint64_t dice = mail->dice, what = roll(&dice, 100);
    struct mapping *it = count ? &mappings[roll(&dice, (uint64_t)count)] : NULL;
    size_t first = it ? roll(&dice, it->pages) : 0, some = it ? 1 + roll(&dice, it->pages - first) : 0;

    if (!it || what < 8) {
        size_t pages = 1 + roll(&dice, LARGEST);

        if (count < MAPPINGS)
            keep(mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), pages, 1);
    } else if (what < 45) {
        if (it->writable)
            for (size_t page = first; page < first + some; page++)
                if (roll(&dice, 3))
                    memset(it->at + page * PAGE + roll(&dice, PAGE / 2), (int)roll(&dice, 256), 1 + roll(&dice, PAGE / 2));
    } else if (what < 49) {
        madvise(it->at + first * PAGE, some * PAGE, MADV_REMOVE);
    } else if (what < 53) {
        madvise(it->at + first * PAGE, some * PAGE, MADV_DONTNEED);
    } else if (what < 57) {
        volatile char sum = 0;

        for (size_t page = first; page < first + some; page++)
            sum += it->at[page * PAGE];
    } else if (what < 64) {
        /* An old size of 0 maps the same pages a second time (mremap(2)). */
        keep(count < MAPPINGS ? mremap(it->at, 0, it->pages * PAGE, MREMAP_MAYMOVE) : MAP_FAILED, it->pages, it->writable);
    } else if (what < 68) {
        size_t pages = it->pages > 1 && roll(&dice, 2) ? it->pages - 1 : it->pages;
        void *moved = mremap(it->at, it->pages * PAGE, pages * PAGE, MREMAP_MAYMOVE);

        if (moved != MAP_FAILED)
            *it = (struct mapping){ moved, pages, it->writable };
    } else if (what < 71) {
        it->writable = !it->writable;
        mprotect(it->at, it->pages * PAGE, it->writable ? PROT_READ | PROT_WRITE : PROT_READ);
    } else if (what < 77) {
        /* The head of it goes, the rest stays. */
        munmap(it->at, some * PAGE);
        it->at += some * PAGE;
        it->pages -= some;
        if (!it->pages)
            drop((int)(it - mappings));
    } else if (what < 88) {
        fork_one();
    } else if (me && !mail->children[me]) {
        mail->alive[me] = 0;
        mail->turn = -1;
        _exit(0);
    }
}

/* Nobody ends before its children are gone, so that none of them is ever somebody else's. */
static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        mail->children[me]--;
}

static void serve(void)
{
    for (;;) {
        reap();
        if (mail->turn == me) {
            one_step();
            mail->turn = -1;
        } else
            control_rest(100);
    }
}

int main(int argc, char **argv)
{
    char question[128];
    unsigned long steps, seed;

    (void)argc;
    control_init(argv[1]);
    mail = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    mail->alive[0] = 1;
    mail->turn = -1;
    for (;;) {
        reap();
        if (!control_question(question, sizeof question)) {
            control_rest(500);
            continue;
        }
        if (sscanf(question, "steps %lu %lu", &steps, &seed) == 2) {
            uint64_t dice = seed;

            for (unsigned long step = 0; step < steps; step++) {
                int who = (int)roll(&dice, PROCESSES);

                while (!mail->alive[who])
                    who = (who + 1) % PROCESSES;
                mail->dice = mix(seed ^ step << 20);
                if (!who)
                    one_step();
                else
                    for (mail->turn = who; mail->turn != -1;)
                        control_rest(20);
            }
            /* Who has ended is reaped before the answer: by then the tree is what it will be. */
            control_rest(3000);
            reap();
        }
        control_reply("{\"steps\": 1}");
    }
}

/* kind_shared_tables DIR: processes that share a descriptor table (CLONE_FILES) or a place in the file system (CLONE_FS) and no memory.

   FILES has the table of its parent, PLACE its working directory and umask, BOTH both; SIBLING is a child of the parent, cloned by PLACE
   (CLONE_PARENT), and has the table of PLACE and the place of both. Each step, one opens a counter and another adds to it and closes it, by
   nothing but its number; and the parent changes directory and umask, and asks where PLACE is. state: steps, what kcmp(2) says of all pairs,
   and what is wrong. */
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "control.h"

enum { ROOT, FILES, PLACE, BOTH, SIBLING, TASKS };
enum { KCMP_FILES = 2, KCMP_FS = 3 };
enum { WRITE, WHERE, OPEN, CLOSE, IS_OPEN, MAKE };

struct question {
    int what, fd;
    unsigned step;
};

struct answer {
    int result;
    unsigned mask;
    char where[1000];
};

static pid_t pids[TASKS];
static int ask[TASKS][2], tell[TASKS][2];
static char directory[1000];

static void serve(int who);

/* As fork(2) with flags. */
static pid_t clone_with(unsigned long flags, int who)
{
    pid_t pid = syscall(SYS_clone, flags | SIGCHLD, 0, NULL, NULL, 0);

    if (!pid)
        serve(who);
    return pid;
}

static struct answer answer_to(struct question it)
{
    struct answer answer = {0};
    uint64_t step = it.step;

    switch (it.what) {
    case WRITE:
        answer.result = write(it.fd, &step, sizeof step) == sizeof step ? close(it.fd) : -1;
        break;
    case WHERE:
        answer.mask = umask(0);
        umask(answer.mask);
        answer.result = getcwd(answer.where, sizeof answer.where) ? 0 : -1;
        break;
    case OPEN:
        answer.result = open("/dev/null", O_RDWR | O_CLOEXEC);
        break;
    case CLOSE:
        answer.result = close(it.fd);
        break;
    case IS_OPEN:
        answer.result = fcntl(it.fd, F_GETFD) >= 0;
        break;
    case MAKE:
        answer.result = clone_with(CLONE_PARENT | CLONE_FILES | CLONE_FS, SIBLING);
        break;
    }
    return answer;
}

static void serve(int who)
{
    struct question it;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (read(ask[who][0], &it, sizeof it) == sizeof it) {
        struct answer answer = answer_to(it);

        if (write(tell[who][1], &answer, sizeof answer) != sizeof answer)
            break;
    }
    _exit(3);
}

static struct answer of(int who, int what, int fd, unsigned step)
{
    struct question it = {what, fd, step};
    struct answer answer = {.result = -1};

    if (write(ask[who][1], &it, sizeof it) != sizeof it || read(tell[who][0], &answer, sizeof answer) != sizeof answer)
        exit(4);
    return answer;
}

static const char *step(unsigned number)
{
    static const int sharers[] = {FILES, BOTH};
    char path[1100];
    unsigned mask = number % 2 ? 027 : 022;

    for (int at = 0; at < 2; at++) {
        int fd = eventfd(0, EFD_CLOEXEC), copy = dup(fd);
        uint64_t found;

        if (of(sharers[at], WRITE, fd, number).result || fcntl(fd, F_GETFD) >= 0)
            return "a descriptor of the parent is not its child's";
        if (read(copy, &found, sizeof found) != sizeof found || found != number || close(copy))
            return "a child did not write";
    }
    int theirs = of(PLACE, OPEN, 0, number).result;
    if (theirs < 0 || of(SIBLING, CLOSE, theirs, number).result || of(PLACE, IS_OPEN, theirs, number).result)
        return "siblings have two tables";
    snprintf(path, sizeof path, "%s/%s", directory, number % 2 ? "odd" : "even");
    if (chdir(path))
        return "chdir";
    umask(mask);
    for (int who = PLACE; who < TASKS; who++) {
        struct answer answer = of(who, WHERE, 0, number);

        if (answer.result || answer.mask != mask || strcmp(answer.where, path))
            return "a child stands elsewhere";
    }
    return "";
}

static void compare(char *text)
{
    static const int kinds[] = {KCMP_FILES, KCMP_FS};

    for (int kind = 0; kind < 2; kind++)
        for (int one = 0; one < TASKS; one++)
            for (int other = one + 1; other < TASKS; other++)
                *text++ = syscall(SYS_kcmp, pids[one], pids[other], kinds[kind], 0, 0) ? '.' : '=';
    *text = 0;
}

int main(int argc, char **argv)
{
    char question[100], pairs[2 * TASKS * TASKS], path[1100];
    const char *wrong = "";
    unsigned steps = 0;

    if (argc < 2)
        return 2;
    snprintf(directory, sizeof directory, "%s", argv[1]);
    control_init(directory);
    for (int at = 0; at < 2; at++) {
        snprintf(path, sizeof path, "%s/%s", directory, at ? "odd" : "even");
        mkdir(path, 0700);
    }
    for (int who = 1; who < TASKS; who++)
        if (pipe2(ask[who], O_CLOEXEC) || pipe2(tell[who], O_CLOEXEC))
            return 1;
    pids[ROOT] = getpid();
    pids[FILES] = clone_with(CLONE_FILES, FILES);
    pids[PLACE] = clone_with(CLONE_FS, PLACE);
    pids[BOTH] = clone_with(CLONE_FILES | CLONE_FS, BOTH);
    pids[SIBLING] = of(PLACE, MAKE, 0, 0).result;
    for (int who = 1; who < TASKS; who++)
        if (pids[who] <= 0)
            return 1;
    for (;;) {
        if (!control_held()) {
            const char *now = step(++steps);

            wrong = *wrong ? wrong : now;
        }
        if (control_question(question, sizeof question)) {
            compare(pairs);
            control_reply("{\"steps\": %u, \"pairs\": \"%s\", \"wrong\": \"%s\"}", steps, pairs, wrong);
        }
        control_rest(1000);
    }
}

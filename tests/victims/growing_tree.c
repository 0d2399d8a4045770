/* growing_tree DIR: a parent and its children, who come and go between layers.
 *
 * Each child has memory of its own and answers its parent over two pipes with a digest of it; every question changes some pages first. The odd ones
 * lead a session of their own, the even ones a process group.
 *
 *   fork       one more child           → the number of children
 *   end        the oldest child ends and is reaped; its exit status must be its number
 *   zombie     the oldest child ends and is not reaped until `reap`
 *   reap       → the exit status of the zombie
 *   talk       every child changes some pages → its steps and digest
 *   state      the same without changing anything; the pids, and wrong parents, groups and sessions */
#include <sys/mman.h>
#include <sys/wait.h>

#include "control.h"

#define PAGES 256
struct child { pid_t pid; int number, ask[2], answer[2]; };
struct answer { uint64_t steps, digest; int32_t parent, group, session; };

static struct child children[32];
static int count, born;
static pid_t zombie;

static void child_main(struct child *me)
{
    uint64_t *memory = mmap(NULL, PAGES << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t steps = 0;
    char question;
    me->number % 2 ? setsid() : setpgid(0, 0);
    for (int page = 0; page < PAGES; page++)
        memory[page << 9] = mix((uint64_t)me->number << 32 | page);
    for (;;) {
        ssize_t got;
        while ((got = read(me->ask[0], &question, 1)) < 0 && errno == EINTR)
            ;
        if (got == 0 || (got == 1 && question == 'e'))
            _exit(me->number);
        if (got != 1)
            _exit(101);
        for (int k = 0; question == 't' && k < 7; k++) {
            steps++;
            memory[(mix(steps) % PAGES) << 9] ^= mix(steps);
        }
        struct answer answer = {.steps = steps, .parent = getppid(), .group = getpgid(0), .session = getsid(0)};
        for (int page = 0; page < PAGES; page++)
            answer.digest = mix(answer.digest ^ memory[page << 9]);
        if (write(me->answer[1], &answer, sizeof answer) != sizeof answer)
            _exit(100);
    }
}

static void add_child(void)
{
    struct child *new = &children[count++];
    new->number = ++born;
    if (pipe2(new->ask, O_CLOEXEC) || pipe2(new->answer, O_CLOEXEC))
        abort();
    new->pid = fork();
    if (new->pid == 0) {
        /* The parent's ends of the others' pipes; their own ends it has closed, and the numbers are in use again. */
        for (int n = 0; n < count - 1; n++)
            close(children[n].ask[1]), close(children[n].answer[0]);
        close(new->ask[1]), close(new->answer[0]);
        child_main(new);
    }
    close(new->ask[0]), close(new->answer[1]);
}

static struct child end_oldest(void)
{
    struct child old = children[0];
    ssize_t put = write(old.ask[1], "e", 1);
    (void)put;
    close(old.ask[1]), close(old.answer[0]);
    memmove(children, children + 1, --count * sizeof *children);
    return old;
}

static int status_of(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void talk(char question)
{
    char text[8192];
    int wrong = 0, at = snprintf(text, sizeof text, "{\"children\": [");
    for (int n = 0; n < count; n++) {
        struct child *c = &children[n];
        struct answer a = {0};
        if (write(c->ask[1], &question, 1) != 1 || read(c->answer[0], &a, sizeof a) != sizeof a)
            wrong++;
        wrong += a.parent != getpid() || a.group != c->pid || a.session != (c->number % 2 ? c->pid : getsid(0));
        at += snprintf(text + at, sizeof text - at, "%s[%d, %d, %lu, \"%016lx\"]", n ? ", " : "", c->number, c->pid, a.steps, a.digest);
    }
    control_reply("%s], \"wrong\": %d, \"zombie\": %d}", text, wrong, zombie);
}

int main(int argc, char **argv)
{
    char line[256];
    (void)argc;
    control_init(argv[1]);
    for (int n = 0; n < 3; n++)
        add_child();
    for (;;) {
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "fork")) {
                add_child();
                control_reply("{\"children\": %d}", count);
            } else if (!strcmp(line, "end")) {
                struct child old = end_oldest();
                control_reply("{\"right\": %d}", status_of(old.pid) == old.number);
            } else if (!strcmp(line, "zombie")) {
                struct child old = end_oldest();
                siginfo_t info;
                waitid(P_PID, old.pid, &info, WEXITED | WNOWAIT);
                zombie = old.pid;
                control_reply("{\"number\": %d}", old.number);
            } else if (!strcmp(line, "reap")) {
                int status = status_of(zombie);
                zombie = 0;
                control_reply("{\"status\": %d}", status);
            } else
                talk(!strcmp(line, "talk") ? 't' : 's');
        }
        control_rest(2000);
    }
}

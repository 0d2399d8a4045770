/* sessions DIR: a tree of processes that only right pids, parents, sessions, groups, pipes and zombies keep going.
 *
 *   root ── writer (leads a session; writes numbers into a pipe) ── elder (was forked before the writer led its session)
 *       ├── reader (leads a group; checks that no number is missing, doubled or out of order)
 *       ├── member (belongs to the reader's group)
 *       └── two zombies: one exited with 7, one died of SIGTERM
 *
 *   state    who is who, in which session and group; how far the reader is; its errors
 *   finish   the statuses of all children, after the writer's end: the reader must then see the end of its pipe */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "control.h"

enum { WRITER, READER, MEMBER, EXITED, KILLED, COUNT };
static pid_t child[COUNT], elder;
static int numbers[2], answers[2];
static volatile sig_atomic_t asked;

static void ask_reader(int signal) { asked = signal; }

static void rest_for_ever(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;)
        pause();
}

static void writer(int told)
{
    uint64_t number = 0;
    elder = fork();
    if (!elder)
        rest_for_ever();
    if (setsid() < 0 || write(told, &elder, sizeof elder) != sizeof elder)
        _exit(1);
    close(told);
    close(numbers[0]), close(answers[0]), close(answers[1]);
    for (;; control_rest(200)) {
        if (control_held())
            continue;
        number++;
        if (write(numbers[1], &number, sizeof number) != sizeof number)
            _exit(1);
    }
}

static void reader(void)
{
    struct sigaction action = {.sa_handler = ask_reader};
    uint64_t state[2] = {0, 0}, number;
    close(numbers[1]), close(answers[0]);
    sigaction(SIGUSR1, &action, NULL);
    if (write(answers[1], state, sizeof state) != sizeof state) /* from here on it may be asked */
        _exit(2);
    for (;;) {
        ssize_t got = read(numbers[0], &number, sizeof number);
        if (asked) {
            asked = 0;
            if (write(answers[1], state, sizeof state) != sizeof state)
                _exit(2);
        }
        if (got == 0)
            _exit(state[1] ? 3 : 42); /* the end of the pipe, as it should be */
        if (got != sizeof number)
            continue;
        state[1] += number != state[0] + 1;
        state[0] = number;
    }
}

static char letter(pid_t pid)
{
    char path[64], text[512] = "", *tail;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof text - 1) < 0)
        text[0] = 0;
    close(fd);
    tail = strrchr(text, ')');
    return tail ? tail[2] : '-';
}

static void state(void)
{
    uint64_t seen[2] = {0, 0};
    kill(child[READER], SIGUSR1);
    while (read(answers[0], seen, sizeof seen) < 0 && errno == EINTR)
        ;
    control_reply("{\"root\": [%d, %d, %d], \"writer\": [%d, %d, %d], \"elder\": [%d, %d, %d], \"reader\": [%d, %d, %d], "
                  "\"member\": [%d, %d, %d], \"zombies\": [[%d, \"%c\", %d], [%d, \"%c\", %d]], \"number\": %lu, \"wrong\": %lu}",
                  getpid(), getpgrp() == getpid(), getsid(0) == getpid(), child[WRITER], getpgid(child[WRITER]), getsid(child[WRITER]),
                  elder, getpgid(elder), getsid(elder), child[READER], getpgid(child[READER]), getsid(child[READER]), child[MEMBER],
                  getpgid(child[MEMBER]), getsid(child[MEMBER]), child[EXITED], letter(child[EXITED]), getpgid(child[EXITED]),
                  child[KILLED], letter(child[KILLED]), getpgid(child[KILLED]), seen[0], seen[1]);
}

static void finish(void)
{
    int status[COUNT];
    kill(child[WRITER], SIGKILL);
    kill(child[MEMBER], SIGTERM);
    for (int i = 0; i < COUNT; i++)
        if (waitpid(child[i], &status[i], 0) != child[i])
            status[i] = -1;
    control_reply("{\"writer\": %d, \"reader\": %d, \"member\": %d, \"exited\": %d, \"killed\": %d}", status[WRITER], status[READER],
                  status[MEMBER], status[EXITED], status[KILLED]);
}

int main(int argc, char **argv)
{
    char line[256];
    int told[2];
    siginfo_t info;
    if (argc < 2 || pipe(numbers) || pipe(answers) || pipe(told))
        return 1;
    control_init(argv[1]);
    if (!(child[WRITER] = fork()))
        close(told[0]), writer(told[1]);
    close(told[1]);
    if (read(told[0], &elder, sizeof elder) != sizeof elder)
        return 1;
    close(told[0]);
    if (!(child[READER] = fork()))
        reader();
    setpgid(child[READER], child[READER]);
    if (read(answers[0], line, sizeof(uint64_t[2])) != sizeof(uint64_t[2]))
        return 1;
    if (!(child[MEMBER] = fork()))
        close(numbers[0]), close(numbers[1]), close(answers[0]), close(answers[1]), rest_for_ever();
    setpgid(child[MEMBER], child[READER]);
    close(numbers[0]), close(numbers[1]), close(answers[1]);
    if (!(child[EXITED] = fork()))
        _exit(7);
    if (!(child[KILLED] = fork()))
        pause();
    kill(child[KILLED], SIGTERM);
    for (int i = EXITED; i <= KILLED; i++)
        waitid(P_PID, child[i], &info, WEXITED | WNOWAIT);
    for (;; control_rest(2000))
        if (control_question(line, sizeof line)) {
            if (!strcmp(line, "finish"))
                finish();
            else
                state();
        }
}

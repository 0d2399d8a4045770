/* Many processes that only wait: argv[1] of them, in families of argv[2] below a leader each. "N pid" is said once all are there.
 * They are called leader-0, member-1 and so on, late-0 those of later, with argv[3] before it so that nobody else's are called the same.
 *
 * A line of standard input is a wish: "+" starts one more child of the root and answers with its pid, "- PID" ends that one, reaps it and
 * answers with the same number. At the end of standard input all are ended and reaped. Whoever loses its parent ends by itself. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *tag = "";
static int ready[2]; /* its end for writing is closed by all once all are there */

static void named(const char *kind, int number, pid_t parent)
{
    char name[32];

    snprintf(name, sizeof name, "%s%s-%d", tag, kind, number);
    prctl(PR_SET_NAME, name); /* cut to 15 bytes */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1); /* it ended before the request was made */
}

static pid_t member(const char *kind, int number)
{
    pid_t parent = getpid(), pid = fork();

    if (pid == 0) {
        named(kind, number, parent);
        close(ready[1]);
        for (;;)
            pause();
    }
    return pid;
}

/* A leader and its family; one that is missing is said through `ready`. */
static pid_t family(int first, int size)
{
    pid_t parent = getpid(), pid = fork();

    if (pid)
        return pid;
    named("leader", first, parent);
    for (int n = 1; n < size; n++)
        if (member("member", first + n) < 0 && write(ready[1], "", 1) < 0)
            _exit(1);
    close(ready[1]);
    for (;;)
        pause();
}

static int reap_all(void)
{
    int status;

    while (wait(&status) > 0 || errno == EINTR)
        ;
    return 0;
}

int main(int argc, char **argv)
{
    int many = argc > 1 ? atoi(argv[1]) : 0, size = argc > 2 ? atoi(argv[2]) : 1, leaders = 0;
    char line[64], failed;
    pid_t *pids;

    if (argc > 3)
        tag = argv[3];
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (many < 0 || size < 1 || !(pids = calloc(many / size + 1, sizeof *pids)) || pipe(ready))
        return 2;
    for (int first = 0; first < many; first += size) {
        pids[leaders] = family(first, many - first < size ? many - first : size);
        if (pids[leaders++] < 0)
            goto end;
    }
    close(ready[1]);
    if (read(ready[0], &failed, 1) != 0)
        goto end;
    close(ready[0]);
    printf("%d %d\n", many, getpid());
    fflush(stdout);
    for (int late = 0; fgets(line, sizeof line, stdin);) {
        pid_t pid = line[0] == '+' ? member("late", late++) : atoi(line + 1);

        if (line[0] == '-' && pid > 0) {
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
        }
        printf("%d\n", pid);
        fflush(stdout);
    }
end:
    for (int n = 0; n < leaders; n++)
        if (pids[n] > 0)
            kill(pids[n], SIGKILL);
    signal(SIGTERM, SIG_IGN);
    kill(0, SIGTERM); /* it leads a group of its own: those started late */
    return reap_all();
}

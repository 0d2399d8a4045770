/* What a dump to a page server can be measured by: reads memory of another process, sends it over loopback, and writes what arrives to a
   file. Nothing else: no frames, no order, no checks. Prints the nanoseconds from the first read until the last byte is written. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PART (256 << 10)

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void receive(int listening, const char *path)
{
    static char buffer[PART];
    int from = accept(listening, NULL, NULL), to = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    ssize_t got;

    if (from < 0 || to < 0)
        fail(path);
    while ((got = recv(from, buffer, sizeof buffer, 0)) > 0)
        if (write(to, buffer, (size_t)got) != got)
            fail("write");
    if (got < 0 || send(from, "", 1, 0) != 1)
        fail("recv");
    exit(0);
}

int main(int argc, char **argv)
{
    static char buffer[PART];
    struct sockaddr_in where = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t length = sizeof where;
    int listening = socket(AF_INET, SOCK_STREAM, 0), to = socket(AF_INET, SOCK_STREAM, 0), status;
    struct timespec began, ended;

    if (argc != 5)
        return 2;
    pid_t pid = atoi(argv[1]);
    uint64_t at = strtoull(argv[2], NULL, 0), bytes = strtoull(argv[3], NULL, 0);
    if (bind(listening, (struct sockaddr *)&where, length) || listen(listening, 1) || getsockname(listening, (struct sockaddr *)&where, &length))
        fail("listen");
    pid_t child = fork();
    if (!child)
        receive(listening, argv[4]);
    if (connect(to, (struct sockaddr *)&where, length))
        fail("connect");
    clock_gettime(CLOCK_MONOTONIC, &began);
    while (bytes) {
        struct iovec here = { buffer, bytes < PART ? bytes : PART }, there = { (void *)at, here.iov_len };
        ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);

        if (got <= 0)
            fail("process_vm_readv");
        for (ssize_t done = 0; done < got;) {
            ssize_t sent = send(to, buffer + done, (size_t)(got - done), 0);

            if (sent < 0)
                fail("send");
            done += sent;
        }
        at += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    shutdown(to, SHUT_WR);
    if (recv(to, buffer, 1, 0) != 1)
        fail("recv");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    waitpid(child, &status, 0);
    printf("%lld\n", (long long)(ended.tv_sec - began.tv_sec) * 1000000000 + ended.tv_nsec - began.tv_nsec);
    return status != 0;
}

/* How a victim is asked and answers. It keeps no descriptor of this open, so that nothing of the harness is dumped with it.
 *
 * The harness opens DIR/answer (a fifo) for reading and renames a line to DIR/ask. The victim finds the file, removes it, opens the fifo, writes
 * one line and closes it. DIR/hold asks loops to stop at the end of their step while it exists. */
#ifndef CONTROL_H
#define CONTROL_H
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char control_ask[4096], control_answer[4096], control_hold[4096];

static inline void control_init(const char *dir)
{
    snprintf(control_ask, sizeof control_ask, "%s/ask", dir);
    snprintf(control_answer, sizeof control_answer, "%s/answer", dir);
    snprintf(control_hold, sizeof control_hold, "%s/hold", dir);
}

/* 1 and the question in `line` if there is one, else 0. */
static inline int control_question(char *line, size_t size)
{
    int fd = open(control_ask, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, line, size - 1);
    close(fd);
    unlink(control_ask);
    line[got > 0 ? got : 0] = 0;
    line[strcspn(line, "\n")] = 0;
    return 1;
}

static inline int control_held(void) { return access(control_hold, F_OK) == 0; }

static inline void __attribute__((format(printf, 1, 2))) control_reply(const char *format, ...)
{
    static char text[65536];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    int fd;
    while ((fd = open(control_answer, O_WRONLY | O_CLOEXEC)) < 0 && errno == EINTR)
        ;
    for (int done = 0; fd >= 0 && done < size;) {
        ssize_t put = write(fd, text + done, size - done);
        if (put < 0 && errno != EINTR)
            break;
        done += put > 0 ? put : 0;
    }
    close(fd);
}

static inline void control_rest(long us)
{
    struct timespec rest = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&rest, NULL);
}

static inline uint64_t mix(uint64_t x)
{
    x ^= x >> 33, x *= 0xff51afd7ed558ccdULL, x ^= x >> 33, x *= 0xc4ceb9fe1a85ec53ULL;
    return x ^ x >> 33;
}
#endif

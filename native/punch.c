#include "punch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

int lm_punch_ranges(int fd, const uint64_t *offset, const uint64_t *length, uint64_t count, lm_error *err)
{
    for (uint64_t i = 0; i < count; i++) {
        int result;

        if (offset[i] > INT64_MAX || length[i] > INT64_MAX - offset[i])
            return lm_refuse(err, "fallocate(PUNCH_HOLE)", fd, "a range lies beyond what a file can have");
        do
            result = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset[i], (off_t)length[i]);
        while (result < 0 && errno == EINTR);
        if (result < 0)
            return lm_fail(err, "fallocate(PUNCH_HOLE)", (int64_t)offset[i], "%s", "");
    }
    return 0;
}

int64_t lm_punch_holes(int fd, uint64_t from, uint64_t to, uint64_t *start, uint64_t *end, uint64_t room, lm_error *err)
{
    int64_t count = 0;

    if (to > INT64_MAX)
        return lm_refuse(err, "lseek(SEEK_HOLE)", fd, "a range lies beyond what a file can have");
    while (from < to) {
        off_t hole = lseek(fd, (off_t)from, SEEK_HOLE);
        off_t data;

        if (hole < 0 && errno == ENXIO) /* `from` is at or beyond the end */
            return count;
        if (hole < 0)
            return lm_fail(err, "lseek(SEEK_HOLE)", fd, "%s", "");
        if ((uint64_t)hole >= to)
            return count;
        data = lseek(fd, hole, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return lm_fail(err, "lseek(SEEK_DATA)", fd, "%s", "");
        if (data < 0 || (uint64_t)data > to) { /* no data behind it: the hole reaches the end of the file, which SEEK_END tells */
            off_t size = lseek(fd, 0, SEEK_END);

            if (size < 0)
                return lm_fail(err, "lseek(SEEK_END)", fd, "%s", "");
            if (data < 0)
                data = size;
            if ((uint64_t)data > to)
                data = (off_t)to;
        }
        if (data <= hole) /* the hole that every file has at its end */
            return count;
        if ((uint64_t)count < room) {
            start[count] = (uint64_t)hole;
            end[count] = (uint64_t)data;
        }
        count++;
        from = (uint64_t)data;
    }
    return count;
}

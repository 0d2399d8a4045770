#include "compare.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int64_t lm_compare_pages(const uint8_t *a, const uint8_t *b, uint64_t pages, uint64_t page_size, uint8_t *equal)
{
    int64_t found = 0;

    for (uint64_t page = 0; page < pages; page++) {
        equal[page] = !memcmp(a + page * page_size, b + page * page_size, page_size);
        found += equal[page];
    }
    return found;
}

static int read_whole(int fd, uint8_t *to, uint64_t size, uint64_t offset, lm_error *err)
{
    while (size) {
        ssize_t got = pread(fd, to, size, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lm_fail(err, "pread", fd, "%s", "");
        if (!got)
            return lm_refuse(err, "pread", fd, "the file ends at %llu, before its pages do", (unsigned long long)offset);
        to += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return 0;
}

int64_t lm_compare_files(int a, const uint64_t *a_offsets, int b, const uint64_t *b_offsets, const uint64_t *sizes, uint64_t count,
                         uint64_t page_size, uint8_t *buffer, uint64_t room, uint8_t *equal, lm_error *err)
{
    uint64_t half = room / 2 / page_size * page_size;
    int64_t found = 0;

    if (!half)
        return lm_refuse(err, "pread", 0, "the buffer is smaller than two pages");
    for (uint64_t i = 0; i < count; i++) {
        if (a_offsets[i] > INT64_MAX || b_offsets[i] > INT64_MAX || sizes[i] > INT64_MAX / 2 || sizes[i] % page_size)
            return lm_refuse(err, "pread", 0, "a stretch is not one of whole pages of a file");
        for (uint64_t done = 0; done < sizes[i];) {
            uint64_t size = sizes[i] - done < half ? sizes[i] - done : half;

            if (read_whole(a, buffer, size, a_offsets[i] + done, err) || read_whole(b, buffer + half, size, b_offsets[i] + done, err))
                return -1;
            found += lm_compare_pages(buffer, buffer + half, size / page_size, page_size, equal);
            equal += size / page_size;
            done += size;
        }
    }
    return found;
}

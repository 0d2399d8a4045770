#include "reflink.h"

#include <errno.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* btrfs and xfs take no more in one call. */
#define SHARE_MAX (16ull << 20)
#define EXTENTS 256

static int share_one(int from_fd, int to_fd, uint64_t from, uint64_t to, uint64_t length, uint64_t *shared)
{
    union {
        struct file_dedupe_range head;
        char room[sizeof(struct file_dedupe_range) + sizeof(struct file_dedupe_range_info)];
    } call;
    struct file_dedupe_range_info *info = call.head.info;
    int result;

    memset(&call, 0, sizeof(call));
    call.head.src_offset = from;
    call.head.src_length = length < SHARE_MAX ? length : SHARE_MAX;
    call.head.dest_count = 1;
    info->dest_fd = to_fd;
    info->dest_offset = to;
    do
        result = ioctl(from_fd, FIDEDUPERANGE, &call);
    while (result < 0 && errno == EINTR);
    if (result < 0)
        return -1;
    if (info->status < 0) {
        errno = -info->status;
        return -1;
    }
    *shared = info->status == FILE_DEDUPE_RANGE_SAME ? info->bytes_deduped : 0;
    return 0;
}

int lm_reflink_share(int from_fd, int to_fd, const uint64_t *from, const uint64_t *to, const uint64_t *length, uint64_t count,
                     uint64_t *shared, lm_error *err)
{
    memset(shared, 0, count * sizeof(*shared));
    for (uint64_t i = 0; i < count; i++) {
        if (from[i] > INT64_MAX || to[i] > INT64_MAX || length[i] > INT64_MAX - from[i] || length[i] > INT64_MAX - to[i])
            return lm_refuse(err, "ioctl(FIDEDUPERANGE)", (int64_t)i, "a range lies beyond what a file can have");
        while (shared[i] < length[i]) {
            uint64_t done = 0;

            if (share_one(from_fd, to_fd, from[i] + shared[i], to[i] + shared[i], length[i] - shared[i], &done) < 0)
                return lm_fail(err, "ioctl(FIDEDUPERANGE)", (int64_t)i, "%s", "");
            if (!done) /* they differ, or the file system stopped half way */
                break;
            shared[i] += done;
        }
    }
    return 0;
}

int64_t lm_reflink_extents(int fd, uint64_t from, uint64_t *start, uint64_t *size, uint64_t *place, uint64_t room, lm_error *err)
{
    const uint32_t nowhere = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED;
    struct fiemap *map = malloc(sizeof(*map) + EXTENTS * sizeof(struct fiemap_extent));
    uint64_t count = 0;
    int last = 0;

    if (!map)
        return lm_fail(err, "malloc", fd, "%s", "");
    while (!last && count < room) {
        const uint64_t before = from;
        int result;

        memset(map, 0, sizeof(*map));
        map->fm_start = from;
        map->fm_length = FIEMAP_MAX_OFFSET - from;
        map->fm_flags = FIEMAP_FLAG_SYNC;
        map->fm_extent_count = EXTENTS;
        do
            result = ioctl(fd, FS_IOC_FIEMAP, map);
        while (result < 0 && errno == EINTR);
        if (result < 0) {
            int64_t failed = lm_fail(err, "ioctl(FIEMAP)", fd, "%s", "");

            free(map);
            return failed;
        }
        last = map->fm_mapped_extents == 0;
        for (uint32_t i = 0; i < map->fm_mapped_extents && count < room; i++) {
            const struct fiemap_extent *each = &map->fm_extents[i];

            start[count] = each->fe_logical;
            size[count] = each->fe_length;
            place[count] = each->fe_flags & nowhere ? UINT64_MAX : each->fe_physical;
            count++;
            from = each->fe_logical + each->fe_length;
            last = !!(each->fe_flags & FIEMAP_EXTENT_LAST);
        }
        last |= from <= before;
    }
    free(map);
    return (int64_t)count;
}

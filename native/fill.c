#include "fill.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { VECTORS = 1024 };
#define HUGE_BYTES (2ULL << 20)
/* Well below what one call may move (2 GiB), so that an error is near its place. */
#define CALL_BYTES (64ULL << 20)

typedef struct {
    struct iovec at[VECTORS];
    int count;
} vectors;

/* Append, or lengthen the last one; 0 if there is no room. */
static int join(vectors *v, void *start, uint64_t length)
{
    struct iovec *last = v->count ? &v->at[v->count - 1] : NULL;

    if (last && (uint8_t *)last->iov_base + last->iov_len == (uint8_t *)start) {
        last->iov_len += length;
        return 1;
    }
    if (v->count == VECTORS)
        return 0;
    v->at[v->count++] = (struct iovec){start, length};
    return 1;
}

static uint64_t stopped_at(const vectors *v, uint64_t done)
{
    for (int i = 0; i < v->count; i++) {
        if (done < v->at[i].iov_len)
            return (uint64_t)v->at[i].iov_base + done;
        done -= v->at[i].iov_len;
    }
    return 0;
}

static int flush(int pid, vectors *local, vectors *remote, uint64_t bytes, lm_error *err)
{
    ssize_t got;

    if (!bytes)
        return 0;
    got = process_vm_writev(pid, local->at, (unsigned long)local->count, remote->at, (unsigned long)remote->count, 0);
    if (got < 0)
        return lm_fail(err, "process_vm_writev", (int64_t)stopped_at(remote, 0), "cannot fill the memory of process %d", pid);
    if ((uint64_t)got != bytes) {
        errno = EFAULT;
        return lm_fail(err, "process_vm_writev", (int64_t)stopped_at(remote, (uint64_t)got),
                       "cannot fill the memory of process %d: the pages file or the area ends early", pid);
    }
    local->count = remote->count = 0;
    return 0;
}

int64_t lm_fill_pieces(int pid, const void *file, uint64_t file_size, const lm_piece *pieces, int count, lm_error *err)
{
    vectors local = {.count = 0}, remote = {.count = 0};
    uint64_t bytes = 0, total = 0;

    for (int i = 0; i < count; i++) {
        uint64_t address = pieces[i].address, left = pieces[i].length, offset = pieces[i].offset;

        if (offset > file_size || left > file_size - offset)
            return lm_refuse(err, "fill", (int64_t)address, "the pages file is shorter than its map");
        while (left) {
            uint64_t part = left < CALL_BYTES - bytes ? left : CALL_BYTES - bytes;

            if (local.count == VECTORS || remote.count == VECTORS || !part) {
                if (flush(pid, &local, &remote, bytes, err) < 0)
                    return -1;
                bytes = 0;
                continue;
            }
            join(&local, (uint8_t *)file + offset, part);
            join(&remote, (void *)address, part);
            bytes += part;
            total += part;
            address += part;
            offset += part;
            left -= part;
        }
    }
    return flush(pid, &local, &remote, bytes, err) < 0 ? -1 : (int64_t)total;
}

static int touch(int pid, const uint64_t *runs, int count, lm_error *err)
{
    vectors remote = {.count = 0};
    uint8_t zeros[VECTORS] = {0};

    for (int i = 0; i < count; i++) {
        for (uint64_t at = runs[2 * i]; at < runs[2 * i + 1]; at += HUGE_BYTES) {
            remote.at[remote.count++] = (struct iovec){(void *)at, 1};
            if (remote.count == VECTORS || (i == count - 1 && at + HUGE_BYTES >= runs[2 * i + 1])) {
                struct iovec local = {zeros, (size_t)remote.count};

                if (process_vm_writev(pid, &local, 1, remote.at, (unsigned long)remote.count, 0) != remote.count)
                    return lm_fail(err, "process_vm_writev", (int64_t)runs[2 * i], "cannot touch the memory of process %d", pid);
                remote.count = 0;
            }
        }
    }
    return 0;
}

int lm_fill_huge(int pid, int pidfd, const uint64_t *runs, int count, lm_error *err)
{
    int taken = 0;

    if (touch(pid, runs, count, err) < 0)
        return -1;
    for (int i = 0; i < count; i++) {
        struct iovec run = {(void *)runs[2 * i], runs[2 * i + 1] - runs[2 * i]};

        if (syscall(SYS_process_madvise, pidfd, &run, 1, MADV_COLLAPSE, 0) == (long)run.iov_len)
            taken++;
    }
    return taken;
}

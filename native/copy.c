#include "copy.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096ULL
#define RUNS_PER_CALL 1024

/* A place in a list of runs: run `at`, `into` bytes of it done. */
struct cursor {
    const uint64_t *starts, *ends;
    uint64_t count, at, into;
};

/* Fill iov with what comes next, at most `limit` bytes in all; the cursor stays. Returns how many entries, *bytes how much. */
static int gather(const struct cursor *cursor, uint64_t limit, struct iovec *iov, uint64_t *bytes)
{
    uint64_t into = cursor->into;
    int used = 0;

    *bytes = 0;
    for (uint64_t i = cursor->at; i < cursor->count && used < RUNS_PER_CALL && *bytes < limit; i++, into = 0) {
        uint64_t length = cursor->ends[i] - cursor->starts[i] - into;

        if (length > limit - *bytes)
            length = limit - *bytes;
        if (!length)
            continue;
        iov[used].iov_base = (void *)(uintptr_t)(cursor->starts[i] + into);
        iov[used++].iov_len = length;
        *bytes += length;
    }
    return used;
}

static void advance(struct cursor *cursor, uint64_t bytes)
{
    cursor->into += bytes;
    while (cursor->at < cursor->count && cursor->into >= cursor->ends[cursor->at] - cursor->starts[cursor->at]) {
        cursor->into -= cursor->ends[cursor->at] - cursor->starts[cursor->at];
        cursor->at++;
    }
}

static uint64_t left(const struct cursor *cursor)
{
    uint64_t bytes = 0;

    for (uint64_t i = cursor->at; i < cursor->count; i++)
        bytes += cursor->ends[i] - cursor->starts[i];
    return bytes - cursor->into;
}

/* What process_vm_readv refused at `address`: the rest of this run through /proc/PID/mem, which also reads PROT_NONE areas; if that
   refuses too, this one page is lost. Returns bytes dealt with, at least one page. */
static int64_t read_refused(int mem, uint64_t address, uint64_t length, uint8_t *to, lm_array *lost, lm_error *err)
{
    if (mem >= 0) {
        ssize_t got = pread(mem, to, length, (off_t)address);

        if (got >= (ssize_t)PAGE)
            return got & ~(ssize_t)(PAGE - 1);
    }
    memset(to, 0, PAGE);
    if (lm_array_add(lost, address, address + PAGE, 0, err) < 0)
        return -1;
    return PAGE;
}

/* Copy `bytes` from the cursor on to `to`. */
static int read_some(int pid, int mem, struct cursor *cursor, uint8_t *to, uint64_t bytes, lm_array *lost, lm_error *err)
{
    struct iovec remote[RUNS_PER_CALL];

    while (bytes) {
        uint64_t wanted;
        int used = gather(cursor, bytes, remote, &wanted);
        struct iovec local = { to, wanted };
        int64_t got = process_vm_readv(pid, &local, 1, remote, (unsigned long)used, 0);

        if (got < 0 && errno == ESRCH)
            return lm_fail(err, "process_vm_readv", pid, "process %d is gone", pid);
        if (got < 0 && errno == EPERM)
            return lm_fail(err, "process_vm_readv", pid, "the memory of process %d may not be read", pid);
        if (got < 0 && errno != EFAULT)
            return lm_fail(err, "process_vm_readv", pid, "%d runs from %#llx on", used, (unsigned long long)(uintptr_t)remote[0].iov_base);
        /* A short count may end inside a page only if it was unmapped meanwhile: that page is read again. */
        got = got < 0 ? 0 : got & ~(int64_t)(PAGE - 1);
        if (!got) {
            got = read_refused(mem, (uint64_t)(uintptr_t)remote[0].iov_base, remote[0].iov_len, to, lost, err);
            if (got < 0)
                return -1;
        }
        advance(cursor, (uint64_t)got);
        to += got;
        bytes -= (uint64_t)got;
    }
    return 0;
}

int64_t lm_copy_runs(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, uint8_t *buffer, uint64_t size,
                     lm_array *lost, lm_error *err)
{
    struct cursor cursor = { starts, ends, count, 0, 0 };
    uint64_t bytes = left(&cursor);

    if (bytes > size)
        return lm_refuse(err, "copy", (int64_t)bytes, "the buffer holds %llu bytes only", (unsigned long long)size);
    if (read_some(pid, mem, &cursor, buffer, bytes, lost, err) < 0)
        return -1;
    return (int64_t)bytes;
}

static int write_file(int fd, const uint8_t *from, uint64_t bytes, uint64_t offset, lm_error *err)
{
    while (bytes) {
        ssize_t put = pwrite(fd, from, bytes, (off_t)offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return lm_fail(err, "pwrite", fd, "%llu bytes at %llu", (unsigned long long)bytes, (unsigned long long)offset);
        from += put;
        offset += (uint64_t)put;
        bytes -= (uint64_t)put;
    }
    return 0;
}

int64_t lm_copy_runs_to_fd(int pid, int mem, const uint64_t *starts, const uint64_t *ends, uint64_t count, int fd, uint64_t offset,
                           uint8_t *buffer, uint64_t size, lm_array *lost, lm_error *err)
{
    struct cursor cursor = { starts, ends, count, 0, 0 };
    uint64_t bytes = left(&cursor), rest = bytes;

    size &= ~(PAGE - 1);
    if (!size)
        return lm_refuse(err, "copy", 0, "the buffer is smaller than a page");
    while (rest) {
        uint64_t now = rest < size ? rest : size;

        if (read_some(pid, mem, &cursor, buffer, now, lost, err) < 0 || write_file(fd, buffer, now, offset, err) < 0)
            return -1;
        offset += now;
        rest -= now;
    }
    return (int64_t)bytes;
}

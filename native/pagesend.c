#include "pagesend.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "copy.h"

#define PAGE 4096ULL
#define FRAMES 512
/* The 24-byte form counts pages in 32 bits, and older criu adds bytes up in places: a longer run goes in several frames. */
#define MOST_BYTES (1ULL << 30)

/* What goes out in one call. */
struct batch {
    uint8_t heads[FRAMES * LM_FRAME_32];
    struct iovec iov[2 * FRAMES];
    int frames, used;
    uint64_t buffered;                           /* bytes of the buffer that hold pages */
    uint64_t starts[FRAMES], ends[FRAMES];       /* what is yet to be read from the process, */
    uint64_t count, to;                          /* and where in the buffer it goes */
};

/* A call that waits by itself has its limit for all that it sends, and what it has sent before a silence hides that silence from us: the next
   one would wait as long again. So none waits, and the limit is that of a wait for room. */
static int wait_for_room(int sock)
{
    struct pollfd room = { .fd = sock, .events = POLLOUT };
    struct timeval limit = { 0 };
    socklen_t size = sizeof limit;
    int ms, ready;

    if (getsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, &size) < 0)
        return -1;
    ms = (int)(limit.tv_sec * 1000 + limit.tv_usec / 1000);
    ready = poll(&room, 1, ms ? ms : -1);
    if (!ready)
        errno = EAGAIN;
    return ready > 0 ? 0 : -1;
}

static int send_all(int sock, struct batch *batch, lm_error *err)
{
    struct msghdr message = { .msg_iov = batch->iov, .msg_iovlen = (size_t)batch->used };

    while (message.msg_iovlen) {
        ssize_t sent = sendmsg(sock, &message, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && (errno == EINTR || (errno == EAGAIN && (!wait_for_room(sock) || errno == EINTR))))
            continue;
        if (sent < 0)
            return lm_fail(err, "sendmsg", sock, "%s", "");
        while (message.msg_iovlen && (size_t)sent >= message.msg_iov->iov_len) {
            sent -= (ssize_t)message.msg_iov->iov_len;
            message.msg_iov++;
            message.msg_iovlen--;
        }
        if (sent) {
            message.msg_iov->iov_base = (uint8_t *)message.msg_iov->iov_base + sent;
            message.msg_iov->iov_len -= (size_t)sent;
        }
    }
    batch->frames = batch->used = 0;
    batch->buffered = 0;
    return 0;
}

static int read_process(const lm_send_source *source, struct batch *batch, lm_array *lost, lm_error *err)
{
    uint64_t room = batch->buffered - batch->to;

    if (batch->count && lm_copy_runs(source->pid, source->mem, batch->starts, batch->ends, batch->count, source->buffer + batch->to, room,
                                     lost, err) < 0)
        return -1;
    batch->count = 0;
    return 0;
}

static int read_file(int fd, uint8_t *to, uint64_t bytes, uint64_t offset, lm_error *err)
{
    while (bytes) {
        ssize_t got = pread(fd, to, bytes, (off_t)offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lm_fail(err, "pread", fd, "%llu bytes at %llu", (unsigned long long)bytes, (unsigned long long)offset);
        if (!got)
            return lm_refuse(err, "pread", fd, "the file ends at %llu", (unsigned long long)offset);
        to += got;
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return 0;
}

static void add_head(struct batch *batch, int form, uint64_t dst_id, int kind, uint64_t start, uint64_t bytes)
{
    uint32_t flags = kind == LM_SEND_INHERITED ? LM_RUN_PARENT : LM_RUN_PRESENT;
    lm_frame frame = { kind == LM_SEND_FORGOTTEN ? LM_FRAME_FORGET : LM_FRAME_ADD_F | flags << 16, bytes / PAGE, start, dst_id };
    uint8_t *at = batch->heads + batch->frames++ * LM_FRAME_32;

    batch->iov[batch->used++] = (struct iovec){ at, lm_frame_put(at, form, &frame) };
}

int64_t lm_pagesend(int sock, int form, uint64_t dst_id, const uint64_t *starts, const uint64_t *ends, const uint64_t *offsets,
                    const uint8_t *kinds, uint64_t count, const lm_send_source *source, lm_array *lost, lm_error *err)
{
    struct batch batch = { .frames = 0 };
    uint64_t at = 0, into = 0, left = 0; /* run `at`, `into` bytes of it done; `left` of the frame under way */
    uint64_t size = source->size & ~(PAGE - 1);
    int64_t total = 0;

    if (!size)
        return lm_refuse(err, "send", 0, "the buffer is smaller than a page");
    while (at < count || batch.used) {
        if (at == count || batch.frames == FRAMES || batch.used >= 2 * FRAMES - 1 || batch.buffered == size) {
            if (read_process(source, &batch, lost, err) < 0 || send_all(sock, &batch, err) < 0)
                return -1;
            continue;
        }
        uint64_t length = ends[at] - starts[at], start = starts[at] + into, take;
        int kind = kinds[at];

        if (!left && into < length) {
            left = length - into < MOST_BYTES ? length - into : MOST_BYTES;
            add_head(&batch, form, dst_id, kind, start, left);
        }
        take = left;
        if (kind == LM_SEND_MEMORY) {
            batch.iov[batch.used++] = (struct iovec){ (uint8_t *)(uintptr_t)(source->base + offsets[at] + into), take };
        } else if (kind == LM_SEND_FILE || kind == LM_SEND_PROCESS) {
            if (take > size - batch.buffered)
                take = size - batch.buffered;
            batch.iov[batch.used++] = (struct iovec){ source->buffer + batch.buffered, take };
            if (kind == LM_SEND_FILE) {
                if (read_process(source, &batch, lost, err) < 0
                    || read_file(source->fd, source->buffer + batch.buffered, take, offsets[at] + into, err) < 0)
                    return -1;
            } else {
                if (!batch.count)
                    batch.to = batch.buffered;
                batch.starts[batch.count] = start;
                batch.ends[batch.count++] = start + take;
            }
            batch.buffered += take;
        }
        if (kind <= LM_SEND_MEMORY)
            total += (int64_t)take;
        left -= take;
        into += take;
        if (into == length) {
            at++;
            into = 0;
        }
    }
    return total;
}

#include "sockqueue.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "guardian.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#endif
/* The first is at least as long as a page, and a datagram of the usual SO_SNDBUF fits. */
#define FIRST_ROOM (256UL << 10)
#define MOST_BYTES (1UL << 30)
#define MOST_MESSAGES (1UL << 22)
/* SCM_MAX_FD descriptors, the sender, and a label of a security module. */
#define CONTROL_BYTES 8192

struct job {
    int fd, stream, failed;
    lm_queue *queue;
    lm_error *err;
};

struct peek {
    ssize_t length;
    int has_sender;
    struct ucred sender;
    uint64_t fds_before;
};

static int grow(void **start, uint64_t *room, uint64_t needed)
{
    uint64_t wanted = *room ? *room : FIRST_ROOM;
    void *got;

    while (wanted < needed)
        wanted *= 2;
    if (wanted == *room)
        return 0;
    got = *room ? mremap(*start, *room, wanted, MREMAP_MAYMOVE)
                : mmap(NULL, wanted, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED)
        return -1;
    *start = got;
    *room = wanted;
    return 0;
}

static void close_from(lm_queue *queue, uint64_t first)
{
    while (queue->fd_count > first)
        close(queue->fds[--queue->fd_count]);
}

/* Take sender and descriptors out of what came with a message. */
static int take_control(struct job *job, struct msghdr *message, struct peek *peek)
{
    lm_queue *queue = job->queue;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        size_t size = part->cmsg_len - CMSG_LEN(0);

        if (part->cmsg_level != SOL_SOCKET)
            continue;
        if (part->cmsg_type == SCM_CREDENTIALS && size >= sizeof peek->sender) {
            memcpy(&peek->sender, CMSG_DATA(part), sizeof peek->sender);
            peek->has_sender = 1;
        } else if (part->cmsg_type == SCM_RIGHTS) {
            if (grow((void **)&queue->fds, &queue->fd_room, queue->fd_count * sizeof *queue->fds + size) < 0)
                return lm_fail(job->err, "mmap", job->fd, "no memory for descriptors in flight");
            memcpy(queue->fds + queue->fd_count, CMSG_DATA(part), size);
            queue->fd_count += size / sizeof *queue->fds;
        }
    }
    if (message->msg_flags & MSG_CTRUNC)
        return lm_refuse(job->err, "recvmsg", job->fd, "the descriptors in flight do not fit into lamina's table (ulimit -n)");
    return 0;
}

/* Peek at `offset` (-1: at the head, as if there were no offsets). 1 if there is something, 0 if not. */
static int peek_into(struct job *job, int64_t offset, struct iovec *into, size_t parts, struct peek *peek)
{
    char control[CONTROL_BYTES] __attribute__((aligned(8)));
    struct msghdr message = {.msg_iov = into, .msg_iovlen = parts, .msg_control = control, .msg_controllen = sizeof control};
    int at = (int)offset;

    memset(peek, 0, sizeof *peek);
    peek->fds_before = job->queue->fd_count;
    if (setsockopt(job->fd, SOL_SOCKET, SO_PEEK_OFF, &at, sizeof at) < 0)
        return lm_fail(job->err, "SO_PEEK_OFF", job->fd, "the queue cannot be read without consuming it");
    peek->length = recvmsg(job->fd, &message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (job->stream ? 0 : MSG_TRUNC));
    if (peek->length < 0)
        return errno == EAGAIN ? 0 : lm_fail(job->err, "recvmsg(MSG_PEEK)", job->fd, "the queue cannot be read");
    if (take_control(job, &message, peek) < 0)
        return -1;
    /* The end of a connection has no sender; an empty datagram has. */
    return peek->length > 0 || (!job->stream && peek->has_sender);
}

/* At most `room` bytes, into what is free of `bytes`. */
static int peek_at(struct job *job, int64_t offset, size_t room, struct peek *peek)
{
    struct iovec into = {job->queue->bytes + job->queue->byte_count, room};

    return peek_into(job, offset, &into, 1, peek);
}

static int add(struct job *job, const struct peek *peek, uint64_t length, uint64_t first_fd)
{
    lm_queue *queue = job->queue;
    lm_message *message;

    if (queue->message_count >= MOST_MESSAGES)
        return lm_refuse(job->err, "recvmsg(MSG_PEEK)", job->fd, "more than %lu messages wait", MOST_MESSAGES);
    if (grow((void **)&queue->messages, &queue->message_room, (queue->message_count + 1) * sizeof *message) < 0)
        return lm_fail(job->err, "mmap", job->fd, "no memory for the queue");
    message = &queue->messages[queue->message_count++];
    *message = (lm_message){.at = queue->byte_count, .length = (uint32_t)length, .pid = peek->sender.pid, .uid = peek->sender.uid,
                            .gid = peek->sender.gid, .first_fd = (int32_t)first_fd, .fd_count = (int32_t)(queue->fd_count - first_fd)};
    queue->byte_count += length;
    return 0;
}

/* Bytes that came before those with descriptors are read together with them: how many are they? A shorter look does not tell: it goes on
   through what follows with no room left, and brings their descriptors all the same. But one that cannot write its last byte ends before
   whatever that byte belongs to (unix_stream_read_generic). */
static int64_t bytes_before_fds(struct job *job, int64_t offset, int64_t length)
{
    struct iovec into[] = {{job->queue->bytes + job->queue->byte_count, (size_t)length - 1}, {NULL, 1}};
    uint64_t fds = job->queue->fd_count;
    struct peek probe;
    int got = peek_into(job, offset, into, 2, &probe);

    if (got < 0)
        return errno == EFAULT ? 0 : -1;
    if (job->queue->fd_count == fds && probe.length < length)
        return probe.length;
    close_from(job->queue, fds);
    return lm_refuse(job->err, "recvmsg(MSG_PEEK)", job->fd, "the queue changes");
}

static int read_all(struct job *job)
{
    lm_queue *queue = job->queue;
    struct peek peek;
    int64_t offset = 0;
    int got, waiting = 0;

    /* Of a stream all that waits, so that what came with descriptors is never taken in parts. */
    if (job->stream && ioctl(job->fd, SIOCINQ, &waiting) < 0)
        return lm_fail(job->err, "SIOCINQ", job->fd, "the queue cannot be asked");
    if (grow((void **)&queue->bytes, &queue->byte_room, (uint64_t)waiting + 1) < 0)
        return lm_fail(job->err, "mmap", job->fd, "no memory for the queue");
    if (!job->stream) {
        /* Empty datagrams that were seen are passed over below, but at the head. */
        got = peek_at(job, -1, 1, &peek);
        if (got < 0 || (got && !peek.length && add(job, &peek, 0, peek.fds_before) < 0))
            return -1;
        if (got && peek.length)
            close_from(queue, peek.fds_before);
    }
    /* Never beyond the last byte of a stream: a look there takes the error that may wait to be reported (sock_error). */
    while (!job->stream || offset < waiting) {
        got = peek_at(job, offset, queue->byte_room - queue->byte_count, &peek);
        if (got <= 0)
            return got;
        if ((uint64_t)peek.length > queue->byte_room - queue->byte_count) {
            close_from(queue, peek.fds_before);
            if (queue->byte_count + (uint64_t)peek.length > MOST_BYTES)
                return lm_refuse(job->err, "recvmsg(MSG_PEEK)", job->fd, "more than %lu bytes wait", MOST_BYTES);
            if (grow((void **)&queue->bytes, &queue->byte_room, queue->byte_count + (uint64_t)peek.length) < 0)
                return lm_fail(job->err, "mmap", job->fd, "no memory for the queue");
            continue;
        }
        offset += peek.length;
        if (job->stream && queue->fd_count > peek.fds_before) {
            int64_t before = bytes_before_fds(job, offset - peek.length, peek.length);
            uint64_t fds = queue->fd_count;

            if (before < 0)
                return -1;
            queue->fd_count = peek.fds_before;
            got = before ? add(job, &peek, (uint64_t)before, peek.fds_before) : 0;
            queue->fd_count = fds;
            if (got < 0)
                return -1;
            peek.length -= before;
        }
        if (add(job, &peek, (uint64_t)peek.length, peek.fds_before) < 0)
            return -1;
        /* A later look must not write where nothing is left. */
        if (queue->byte_count == queue->byte_room &&
            grow((void **)&queue->bytes, &queue->byte_room, queue->byte_count + 1) < 0)
            return lm_fail(job->err, "mmap", job->fd, "no memory for the queue");
    }
    return 0;
}

static int get(int fd, int option, int *value)
{
    socklen_t size = sizeof *value;

    return getsockopt(fd, SOL_SOCKET, option, value, &size);
}

static void read_one(struct job *job)
{
    static const int on = 1, off = 0;
    int offset, senders, pidfds, failed;

    if (get(job->fd, SO_PEEK_OFF, &offset) < 0 || get(job->fd, SO_PASSCRED, &senders) < 0) {
        job->failed = lm_fail(job->err, "getsockopt", job->fd, "the socket cannot be asked");
        return;
    }
    /* Linux 6.5; each look would bring a descriptor of the sender. */
    if (get(job->fd, SO_PASSPIDFD, &pidfds) < 0)
        pidfds = 0;
    failed = setsockopt(job->fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
             (pidfds && setsockopt(job->fd, SOL_SOCKET, SO_PASSPIDFD, &off, sizeof off) < 0);
    if (failed)
        lm_fail(job->err, "SO_PASSCRED", job->fd, "senders cannot be asked for");
    else
        failed = read_all(job) < 0;
    if (setsockopt(job->fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof offset) < 0 ||
        setsockopt(job->fd, SOL_SOCKET, SO_PASSCRED, &senders, sizeof senders) < 0 ||
        (pidfds && setsockopt(job->fd, SOL_SOCKET, SO_PASSPIDFD, &pidfds, sizeof pidfds) < 0))
        failed = lm_fail(job->err, "setsockopt", job->fd, "an option cannot be put back");
    job->failed = failed;
}

struct jobs {
    struct job job;
    const int32_t *fds, *streams;
    int count;
    lm_queue *queues;
};

static void work(void *own)
{
    struct jobs *jobs = own;

    for (int n = 0; n < jobs->count && !jobs->job.failed; n++) {
        jobs->job.fd = jobs->fds[n];
        jobs->job.stream = jobs->streams[n];
        jobs->job.queue = &jobs->queues[n];
        read_one(&jobs->job);
    }
}

int lm_queues_read(const int32_t *fds, const int32_t *streams, int count, lm_queue *queues, lm_error *err)
{
    struct jobs jobs = {.job = {.err = err}, .fds = fds, .streams = streams, .count = count, .queues = queues};

    memset(queues, 0, (size_t)count * sizeof *queues);
    if (!lm_apart(work, &jobs, CLONE_FILES, err) && !jobs.job.failed)
        return 0;
    for (int n = 0; n < count; n++) {
        close_from(&queues[n], 0);
        lm_queue_free(&queues[n]);
    }
    return -1;
}

void lm_queue_free(lm_queue *queue)
{
    if (queue->message_room)
        munmap(queue->messages, queue->message_room);
    if (queue->fd_room)
        munmap(queue->fds, queue->fd_room);
    if (queue->byte_room)
        munmap(queue->bytes, queue->byte_room);
    memset(queue, 0, sizeof *queue);
}

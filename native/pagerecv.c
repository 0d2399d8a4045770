#include "pagerecv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096ULL
#define BUFFER (256U << 10)
#define PIECES 256
#define LEAST (64U << 10)           /* bytes that must come within the patience */
#define LARGE (256ULL << 20)        /* a run of this length is compared with what the file system has left */
#define GIVE_BACK (1ULL << 20)      /* the most that is kept back in one place while a file is laid out once more */
#define PLACES 16

struct run {
    uint64_t start, end, offset;
    uint32_t flags;
};

struct runs {
    struct run *list;
    uint64_t count, room;
};

struct object {
    uint64_t dst_id;
    int fd;
    uint64_t end;                   /* of the file, bytes */
    uint64_t last;                  /* where the last run of this round ended */
    uint64_t cursor;                /* in `placed`: nothing before it is of interest in this round */
    unsigned rounds;
    struct runs placed, fresh;      /* pages by address: of earlier rounds, and those this one added */
    struct runs inherited, forgotten;
    const uint64_t *starts, *ends;  /* the parent's */
    uint64_t count, there;
};

struct lm_receiver {
    int sock, form, any_order;
    int64_t patience_ms;
    struct object **objects;        /* by dst_id */
    uint64_t count, room, runs;
    uint64_t bytes, told;
    /* The frame under way. */
    struct object *object;
    uint64_t at, left;              /* address and bytes of pages yet to come */
    uint32_t flags;
    /* Received and not looked at yet: [begin, end) of `buffer`. */
    uint8_t *buffer;
    uint64_t begin, end;
    int64_t since_ms;               /* within a frame: the window that `LEAST` bytes must come in */
    uint64_t came;
    /* To be written at `to` of `fd`: pieces of `buffer`. */
    struct iovec pieces[PIECES];
    int used, fd;
    uint64_t to, waiting;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

lm_receiver *lm_receiver_new(int sock, int64_t patience_ms)
{
    lm_receiver *receiver = calloc(1, sizeof *receiver);

    if (!receiver)
        return NULL;
    receiver->buffer = malloc(BUFFER);
    if (!receiver->buffer) {
        free(receiver);
        return NULL;
    }
    receiver->sock = sock;
    receiver->patience_ms = patience_ms;
    return receiver;
}

void lm_receiver_free(lm_receiver *receiver)
{
    if (!receiver)
        return;
    for (uint64_t i = 0; i < receiver->count; i++) {
        free(receiver->objects[i]->placed.list);
        free(receiver->objects[i]->fresh.list);
        free(receiver->objects[i]->inherited.list);
        free(receiver->objects[i]->forgotten.list);
        free(receiver->objects[i]);
    }
    free(receiver->objects);
    free(receiver->buffer);
    free(receiver);
}

void lm_receiver_any_order(lm_receiver *receiver)
{
    receiver->any_order = 1;
}

int lm_receiver_form(const lm_receiver *receiver)
{
    return receiver->form;
}

uint64_t lm_receiver_bytes(const lm_receiver *receiver)
{
    return receiver->bytes;
}

/* Where `dst_id` is or belongs in the list. */
static uint64_t place_of(const lm_receiver *receiver, uint64_t dst_id)
{
    uint64_t low = 0, high = receiver->count;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (receiver->objects[middle]->dst_id < dst_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct object *find(const lm_receiver *receiver, uint64_t dst_id)
{
    uint64_t at;

    if (receiver->object && receiver->object->dst_id == dst_id)
        return receiver->object;
    at = place_of(receiver, dst_id);
    return at < receiver->count && receiver->objects[at]->dst_id == dst_id ? receiver->objects[at] : NULL;
}

int lm_receiver_object(lm_receiver *receiver, uint64_t dst_id, int fd, const uint64_t *starts, const uint64_t *ends, uint64_t count,
                       lm_error *err)
{
    struct object *object;
    uint64_t at = place_of(receiver, dst_id);

    if (find(receiver, dst_id))
        return lm_refuse(err, "frame", 0, "object %#llx is opened a second time", (unsigned long long)dst_id);
    if (receiver->count == receiver->room) {
        uint64_t room = receiver->room ? 2 * receiver->room : 64;
        struct object **objects = realloc(receiver->objects, room * sizeof *objects);

        if (!objects)
            return lm_fail(err, "realloc", (int64_t)room, "no memory for the list of objects");
        receiver->objects = objects;
        receiver->room = room;
    }
    object = calloc(1, sizeof *object);
    if (!object)
        return lm_fail(err, "calloc", 0, "no memory for an object");
    *object = (struct object){ .dst_id = dst_id, .fd = fd, .starts = starts, .ends = ends, .count = count };
    memmove(receiver->objects + at + 1, receiver->objects + at, (receiver->count - at) * sizeof *receiver->objects);
    receiver->objects[at] = object;
    receiver->count++;
    return 0;
}

static int add_run(lm_receiver *receiver, struct runs *runs, struct run run, lm_error *err)
{
    if (runs->count) {
        struct run *last = &runs->list[runs->count - 1];

        if (last->end == run.start && last->flags == run.flags && last->offset + (last->end - last->start) == run.offset) {
            last->end = run.end;
            return 0;
        }
    }
    if (receiver->runs == LM_RECEIVE_RUNS)
        return lm_refuse(err, "frame", 0, "more than %d runs of pages", LM_RECEIVE_RUNS);
    if (runs->count == runs->room) {
        uint64_t room = runs->room ? 2 * runs->room : 64;
        struct run *list = realloc(runs->list, room * sizeof *list);

        if (!list)
            return lm_fail(err, "realloc", (int64_t)room, "no memory for the list of runs");
        runs->list = list;
        runs->room = room;
    }
    runs->list[runs->count++] = run;
    receiver->runs++;
    return 0;
}

/* Merge what the last round added into what was there: both are sorted and have no page in common. */
static int end_round(struct object *object, lm_error *err)
{
    struct runs *placed = &object->placed, *fresh = &object->fresh;
    uint64_t a = placed->count, b = fresh->count, to = a + b;
    struct run *list;

    object->cursor = 0;
    object->last = 0;
    if (!b)
        return 0;
    list = realloc(placed->list, to * sizeof *list);
    if (!list)
        return lm_fail(err, "realloc", (int64_t)to, "no memory for the list of runs");
    placed->list = list;
    placed->room = placed->count = to;
    /* From the end, so that nothing is overwritten that is still needed. */
    while (b) {
        if (a && list[a - 1].start > fresh->list[b - 1].start)
            list[--to] = list[--a];
        else
            list[--to] = fresh->list[--b];
    }
    fresh->count = 0;
    return 0;
}

static int write_out(lm_receiver *receiver, lm_error *err)
{
    struct iovec *piece = receiver->pieces;

    while (receiver->used) {
        ssize_t put = pwritev(receiver->fd, piece, receiver->used, (off_t)receiver->to);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return lm_fail(err, "pwrite", receiver->fd, "%llu bytes at %llu", (unsigned long long)receiver->waiting,
                           (unsigned long long)receiver->to);
        receiver->to += (uint64_t)put;
        receiver->waiting -= (uint64_t)put;
        while (receiver->used && (size_t)put >= piece->iov_len) {
            put -= (ssize_t)piece->iov_len;
            piece++;
            receiver->used--;
        }
        if (put) {
            piece->iov_base = (uint8_t *)piece->iov_base + put;
            piece->iov_len -= (size_t)put;
        }
    }
    return 0;
}

/* `bytes` of the buffer belong at `offset` of `fd`. */
static int put(lm_receiver *receiver, int fd, uint64_t offset, uint64_t bytes, lm_error *err)
{
    int follows = receiver->used && receiver->fd == fd && receiver->to + receiver->waiting == offset;

    if ((receiver->used == PIECES || (receiver->used && !follows)) && write_out(receiver, err) < 0)
        return -1;
    if (!receiver->used) {
        receiver->fd = fd;
        receiver->to = offset;
        receiver->waiting = 0;
    }
    receiver->pieces[receiver->used++] = (struct iovec){ receiver->buffer + receiver->begin, bytes };
    receiver->waiting += bytes;
    receiver->begin += bytes;
    return 0;
}

/* Have at least `wanted` bytes in the buffer. Returns 1, 0 at the end of the connection. */
static int refill(lm_receiver *receiver, uint64_t wanted, lm_error *err)
{
    if (receiver->end - receiver->begin >= wanted)
        return 1;
    if (write_out(receiver, err) < 0)
        return -1;
    memmove(receiver->buffer, receiver->buffer + receiver->begin, receiver->end - receiver->begin);
    receiver->end -= receiver->begin;
    receiver->begin = 0;
    while (receiver->end < wanted) {
        ssize_t got = recv(receiver->sock, receiver->buffer + receiver->end, BUFFER - receiver->end, 0);
        int64_t now = now_ms();

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lm_fail(err, "recv", receiver->sock, "%s", "");
        if (!got)
            return 0;
        receiver->end += (uint64_t)got;
        receiver->came += (uint64_t)got;
        if (!receiver->left || now - receiver->since_ms <= receiver->patience_ms)
            continue;
        if (receiver->came < LEAST)
            return lm_refuse(err, "frame", 0, "the pages come too slowly: %llu bytes in %lld s", (unsigned long long)receiver->came,
                             (long long)(now - receiver->since_ms) / 1000);
        receiver->since_ms = now;
        receiver->came = 0;
    }
    return 1;
}

static int has_room(int fd, uint64_t bytes, lm_error *err)
{
    struct statvfs info;

    if (bytes < LARGE || fstatvfs(fd, &info) < 0 || !info.f_blocks || (uint64_t)info.f_bavail >= bytes / info.f_frsize)
        return 0;
    errno = ENOSPC;
    return lm_fail(err, "pwrite", fd, "a run of %llu bytes is announced, and there is room for %llu", (unsigned long long)bytes,
                   (unsigned long long)info.f_bavail * info.f_frsize);
}

/* Some of the pages of the frame under way: to where this page was put before, else behind all others. */
static int take_pages(lm_receiver *receiver, lm_error *err)
{
    struct object *object = receiver->object;
    struct runs *placed = &object->placed;
    uint64_t bytes = receiver->left, offset, here;
    int more = refill(receiver, 1, err);

    if (more <= 0)
        return more < 0 ? -1 : lm_refuse(err, "recv", receiver->sock, "the connection ended within a run of pages, %llu bytes before its end",
                                         (unsigned long long)receiver->left);
    here = receiver->end - receiver->begin;
    while (object->cursor < placed->count && placed->list[object->cursor].end <= receiver->at)
        object->cursor++;
    if (object->cursor < placed->count && placed->list[object->cursor].start < receiver->at + bytes) {
        const struct run *there = &placed->list[object->cursor];

        if (there->start <= receiver->at) {
            if (bytes > there->end - receiver->at)
                bytes = there->end - receiver->at;
            if (bytes > here)
                bytes = here;
            offset = there->offset + (receiver->at - there->start);
            goto write;
        }
        bytes = there->start - receiver->at;
    }
    /* Never a part of a page in a run: a connection may end anywhere, and then there is no layer. */
    if (bytes > here)
        bytes = here;
    offset = object->end;
    if (add_run(receiver, &object->fresh, (struct run){ receiver->at, receiver->at + bytes, offset, receiver->flags }, err) < 0)
        return -1;
    object->end += bytes;
write:
    if (put(receiver, object->fd, offset, bytes, err) < 0)
        return -1;
    receiver->at += bytes;
    receiver->left -= bytes;
    receiver->bytes += bytes;
    return 1;
}

/* Whether the parent has all of [start, end). Runs ascend, so the search goes on from where the last one ended. */
static int inherits(struct object *object, uint64_t start, uint64_t end)
{
    uint64_t low = object->there, high = object->count;

    if (low < high && object->ends[low] > end && object->starts[low] <= start)
        return 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (object->ends[middle] <= start)
            low = middle + 1;
        else
            high = middle;
    }
    object->there = low;
    return low < object->count && object->starts[low] <= start && object->ends[low] >= end;
}

static int begin_run(lm_receiver *receiver, const lm_frame *frame, uint32_t flags, lm_error *err)
{
    struct object *object = find(receiver, frame->dst_id);
    uint64_t end = frame->vaddr + frame->pages * PAGE;
    unsigned long long first = frame->vaddr, pages = frame->pages;

    if (!object)
        return lm_refuse(err, "frame", 0, "pages for object %#llx, which was not opened", (unsigned long long)frame->dst_id);
    if (frame->vaddr % PAGE || !frame->pages || frame->pages > (1ULL << 51) || frame->vaddr >> 63 || end >> 63)
        return lm_refuse(err, "frame", 0, "%llu pages at %#llx are no run of pages", pages, first);
    receiver->object = object;
    if (frame->cmd == LM_FRAME_FORGET)
        return add_run(receiver, &object->forgotten, (struct run){ frame->vaddr, end, 0, 0 }, err);
    if (flags == LM_RUN_PARENT) {
        struct runs *inherited = &object->inherited;

        if (inherited->count && inherited->list[inherited->count - 1].end > frame->vaddr)
            return lm_refuse(err, "frame", 0, "the inherited run at %#llx does not lie behind the one before it", first);
        if (!receiver->any_order && object->last > frame->vaddr)
            return lm_refuse(err, "frame", 0, "the run at %#llx does not lie behind the one before it", first);
        if (!inherits(object, frame->vaddr, end))
            return lm_refuse(err, "parent", 0, "%llu pages at %#llx are inherited, and the parent here does not have them", pages, first);
        if (!receiver->any_order)
            object->last = end;
        return add_run(receiver, inherited, (struct run){ frame->vaddr, end, frame->vaddr, 0 }, err);
    }
    if ((flags & ~LM_RUN_LAZY) != LM_RUN_PRESENT)
        return lm_refuse(err, "frame", 0, "a run with flags %#x%s", flags, flags == LM_RUN_LAZY ? ": a lazy dump, whose pages stay behind" : "");
    if (frame->vaddr < object->last) {
        if (!receiver->any_order)
            return lm_refuse(err, "frame", 0, "the run at %#llx does not lie behind the one before it", first);
        if (++object->rounds == LM_RECEIVE_ROUNDS)
            return lm_refuse(err, "frame", 0, "the pages come in no order: they began anew %d times", LM_RECEIVE_ROUNDS);
        if (end_round(object, err) < 0)
            return -1;
    }
    object->last = end;
    if (has_room(object->fd, frame->pages * PAGE, err) < 0)
        return -1;
    receiver->at = frame->vaddr;
    receiver->left = frame->pages * PAGE;
    receiver->flags = flags;
    receiver->since_ms = now_ms();
    receiver->came = 0;
    return 0;
}

/* Which form a connection has: its first frame opens an object or asks for its parent, so its address is 0 and its dst_id is not. In the
   32-byte form the address is where the 24-byte form has dst_id. */
static int form_of(const uint8_t *first)
{
    uint64_t last;

    memcpy(&last, first + 16, 8);
    return last ? LM_FRAME_24 : LM_FRAME_32;
}

int lm_receiver_next(lm_receiver *receiver, lm_frame *frame, lm_error *err)
{
    for (;;) {
        uint32_t flags;
        int more;

        if (receiver->left) {
            if (take_pages(receiver, err) < 0)
                return -1;
            if (receiver->bytes - receiver->told >= LM_RECEIVE_STEP) {
                receiver->told = receiver->bytes;
                return LM_RECEIVED_STEP;
            }
            continue;
        }
        more = refill(receiver, LM_FRAME_24, err);
        if (more > 0 && !receiver->form)
            receiver->form = form_of(receiver->buffer + receiver->begin);
        if (more > 0)
            more = refill(receiver, (uint64_t)receiver->form, err);
        if (more < 0)
            return -1;
        if (!more && receiver->end == receiver->begin)
            return write_out(receiver, err) < 0 ? -1 : LM_RECEIVED_END;
        if (!more)
            return lm_refuse(err, "recv", receiver->sock, "the connection ended within a frame");
        lm_frame_get(receiver->buffer + receiver->begin, receiver->form, frame);
        receiver->begin += (uint64_t)receiver->form;
        flags = frame->cmd >> 16;
        if (frame->cmd == LM_FRAME_ADD)
            flags = LM_RUN_PRESENT;
        else if (frame->cmd == LM_FRAME_HOLE)
            flags = LM_RUN_PARENT;
        else if ((frame->cmd & 0xffff) != LM_FRAME_ADD_F && !(frame->cmd == LM_FRAME_FORGET && receiver->any_order))
            return write_out(receiver, err) < 0 ? -1 : LM_RECEIVED_FRAME;
        if (begin_run(receiver, frame, flags, err) < 0)
            return -1;
    }
}

static struct runs *runs_of(lm_receiver *receiver, uint64_t dst_id, int which, lm_error *err)
{
    struct object *object = find(receiver, dst_id);

    if (!object) {
        lm_refuse(err, "runs", 0, "object %#llx was not opened", (unsigned long long)dst_id);
        return NULL;
    }
    if (which == LM_RUNS_PRESENT && end_round(object, err) < 0)
        return NULL;
    return which == LM_RUNS_PRESENT ? &object->placed : which == LM_RUNS_INHERITED ? &object->inherited : &object->forgotten;
}

int64_t lm_receiver_count(lm_receiver *receiver, uint64_t dst_id, int which, lm_error *err)
{
    struct runs *runs = runs_of(receiver, dst_id, which, err);

    return runs ? (int64_t)runs->count : -1;
}

int lm_receiver_runs(lm_receiver *receiver, uint64_t dst_id, int which, uint64_t *starts, uint64_t *ends, uint64_t *offsets, uint32_t *flags,
                     lm_error *err)
{
    struct runs *runs = runs_of(receiver, dst_id, which, err);

    if (!runs)
        return -1;
    for (uint64_t i = 0; i < runs->count; i++) {
        starts[i] = runs->list[i].start;
        ends[i] = runs->list[i].end;
        offsets[i] = runs->list[i].offset;
        flags[i] = runs->list[i].flags;
    }
    return 0;
}

/* What was copied out of a file and is not given back yet. Pages came in few rounds, each in ascending order, so there are few places at
   which a copy in the order of addresses goes on reading. */
struct done {
    int fd;
    uint64_t least;                 /* bytes that are worth a call */
    struct { uint64_t start, end; } places[PLACES];
    unsigned next;
};

static void give_back(struct done *done, unsigned place)
{
    uint64_t start = done->places[place].start, end = done->places[place].end;

    if (end > start) /* a file system that cannot just needs more room */
        (void)!fallocate(done->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)start, (off_t)(end - start));
    done->places[place].start = end;
}

static void was_copied(struct done *done, uint64_t offset, uint64_t bytes)
{
    unsigned place = 0;

    while (place < PLACES && done->places[place].end != offset)
        place++;
    if (place == PLACES) {
        place = done->next++ % PLACES;
        give_back(done, place);
        done->places[place].start = offset;
    }
    done->places[place].end = offset + bytes;
    if (done->places[place].end - done->places[place].start >= done->least)
        give_back(done, place);
}

/* Where copy_file_range(2) cannot. */
static ssize_t copy_by_hand(int from, uint64_t offset, int to, uint64_t at, uint64_t bytes)
{
    uint8_t part[64 << 10];
    ssize_t got = pread(from, part, bytes < sizeof part ? bytes : sizeof part, (off_t)offset);

    return got <= 0 ? got : pwrite(to, part, (size_t)got, (off_t)at);
}

int64_t lm_receiver_rewrite(int from, int to, const uint64_t *offsets, const uint64_t *lengths, uint64_t count, lm_error *err)
{
    struct done copied = { .fd = from };
    uint64_t at = 0;
    int by_hand = 0;

    for (uint64_t i = 0; i < count; i++)
        at += lengths[i];
    copied.least = at / (16 * PLACES) / PAGE * PAGE;
    copied.least = copied.least > GIVE_BACK ? GIVE_BACK : copied.least < PAGE ? PAGE : copied.least;
    at = 0;
    for (uint64_t i = 0; i < count; i++) {
        for (uint64_t done = 0; done < lengths[i];) {
            off_t in = (off_t)(offsets[i] + done), out = (off_t)at;
            uint64_t step = lengths[i] - done < GIVE_BACK ? lengths[i] - done : GIVE_BACK;
            ssize_t got = by_hand ? copy_by_hand(from, (uint64_t)in, to, at, step) : copy_file_range(from, &in, to, &out, step, 0);

            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0 && !by_hand && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
                by_hand = 1;
                continue;
            }
            if (got < 0)
                return lm_fail(err, "pwrite", to, "%llu bytes at %llu", (unsigned long long)step, (unsigned long long)at);
            if (!got)
                return lm_refuse(err, "rewrite", from, "the file ends at %llu", (unsigned long long)(offsets[i] + done));
            was_copied(&copied, offsets[i] + done, (uint64_t)got);
            done += (uint64_t)got;
            at += (uint64_t)got;
        }
    }
    return (int64_t)at;
}

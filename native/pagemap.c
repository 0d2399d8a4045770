#include "pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* The ABI of linux/fs.h since 6.7, restated because the headers a system ships are often older than its kernel. */
struct scan_request {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted, category_mask, category_anyof_mask,
        return_mask;
};
#define SCAN_IOCTL _IOWR('f', 16, struct scan_request)
#define SCAN_WP_MATCHING 1ULL
#define SCAN_GUARD (1ULL << 8)

#define PAGE 4096ULL
#define SLICE (16ULL << 20)
#define SLICE_PAUSE_NS 50000
/* A slice that found less than this was short: the next one follows without a pause. */
#define PAUSE_AFTER_PAGES 1024
#define ROOM_PER_CALL 2048
/* Bytes that a search for zero pages asks for in advance. */
#define AHEAD (16 * PAGE)

/* Entry of /proc/PID/pagemap: bits 0–4 swap type, 5–54 offset, 58 guard page (6.15), 62 swapped, 63 present. Type 31 is a marker, not
   swap. Without CAP_SYS_ADMIN bits 0–54 read as zero. */
#define ENTRY_GUARD (1ULL << 58)
#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAP (1ULL << 62)
#define ENTRY_FRAME ((1ULL << 55) - 1)
#define ENTRY_TYPE 31ULL
#define MARKER_TYPE 31ULL

int lm_pagemap_open(int pid, lm_error *err)
{
    char path[40];
    int fd;

    snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return lm_fail(err, "open(pagemap)", pid, "cannot read the page map of process %d", pid);
    return fd;
}

int lm_pagemap_read(int pagemap, uint64_t start, uint64_t pages, uint64_t *entries, lm_error *err)
{
    uint64_t wanted = pages * 8, done = 0;

    while (done < wanted) {
        ssize_t got = pread(pagemap, (char *)entries + done, wanted - done, (off_t)(start / PAGE * 8 + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lm_fail(err, "pread(pagemap)", (int64_t)start, "at %#llx", (unsigned long long)(start + done / 8 * PAGE));
        /* The kernel answers 0 bytes, not an error, once the program of the descriptor has ended or called exec. */
        if (!got)
            return lm_refuse(err, "pread(pagemap)", (int64_t)start, "the program this page map belongs to is gone");
        done += (uint64_t)got;
    }
    return 0;
}

/* Append to `found` what the kernel says from *at on, until `end` or `max_pages`; *at moves to where it stopped. */
static int walk(int pagemap, struct scan_request *request, uint64_t extra, uint64_t *at, uint64_t end, lm_array *found, lm_error *err)
{
    while (*at < end) {
        long got;

        if (found->room - found->count < ROOM_PER_CALL
            && lm_array_reserve(found, (found->room + ROOM_PER_CALL) * 2, err) < 0)
            return -1;
        request->size = sizeof *request;
        request->start = *at;
        request->end = end;
        request->walk_end = 0;
        request->vec = (uint64_t)(uintptr_t)(found->regions + found->count);
        request->vec_len = found->room - found->count;
        got = ioctl(pagemap, SCAN_IOCTL, request);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return lm_fail(err, "ioctl(PAGEMAP_SCAN)", (int64_t)*at, "%#llx-%#llx", (unsigned long long)*at,
                           (unsigned long long)end);
        for (long i = 0; i < got; i++)
            found->regions[found->count + (uint64_t)i].categories |= extra;
        found->count += (uint64_t)got;
        if (request->walk_end <= *at && !got)
            return lm_refuse(err, "ioctl(PAGEMAP_SCAN)", (int64_t)*at, "the scan does not move on");
        *at = request->walk_end;
    }
    return 0;
}

static void pause_for_target(void)
{
    struct timespec pause = { 0, SLICE_PAUSE_NS };

    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static uint64_t pages_since(const lm_array *found, uint64_t first)
{
    uint64_t bytes = 0;

    for (uint64_t i = first; i < found->count; i++)
        bytes += found->regions[i].end - found->regions[i].start;
    return bytes / PAGE;
}

/* The first populated page at or after `at`, rounded down to a huge page but never below `at`; `end` if there is none. */
static int seek(int pagemap, const struct scan_request *like, uint64_t at, uint64_t end, uint64_t *next, lm_error *err)
{
    lm_region first;
    struct scan_request request = *like;
    long got;

    request.size = sizeof request;
    request.flags = 0;
    request.start = at;
    request.end = end;
    request.vec = (uint64_t)(uintptr_t)&first;
    request.vec_len = 1;
    request.max_pages = 1;
    do
        got = ioctl(pagemap, SCAN_IOCTL, &request);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return lm_fail(err, "ioctl(PAGEMAP_SCAN)", (int64_t)at, "looking for the next page");
    *next = end;
    if (got) {
        *next = first.start & ~((2ULL << 20) - 1);
        if (*next < at)
            *next = at;
    }
    return 0;
}

static int scan_range(int pagemap, struct scan_request *request, uint64_t extra, uint64_t start, uint64_t end, int sliced,
                      lm_array *found, lm_error *err)
{
    uint64_t at = start, since_pause = found->count;

    if (!sliced)
        return walk(pagemap, request, extra, &at, end, found, err);
    while (at < end) {
        uint64_t before = found->count;
        uint64_t stop = (at & ~(SLICE - 1)) + SLICE;

        if (stop > end)
            stop = end;
        if (walk(pagemap, request, extra, &at, stop, found, err) < 0)
            return -1;
        /* A reserved heap may be terabytes of nothing. */
        if (found->count == before && at < end && seek(pagemap, request, at, end, &at, err) < 0)
            return -1;
        if (pages_since(found, since_pause) >= PAUSE_AFTER_PAGES) {
            pause_for_target();
            since_pause = found->count;
        }
    }
    return 0;
}

/* Replace regions[first…] by what their swap entries really are: SWAPPED says "swap, migration or a marker" (R9). */
static int resolve_swap(int pagemap, lm_array *found, uint64_t first, lm_error *err)
{
    lm_array resolved = { 0 };
    uint64_t entries[512];
    int result = -1;

    for (uint64_t i = first; i < found->count; i++) {
        const lm_region *region = &found->regions[i];

        if (!(region->categories & LM_PAGE_SWAPPED)) {
            if (lm_array_add(&resolved, region->start, region->end, region->categories, err) < 0)
                goto out;
            continue;
        }
        for (uint64_t at = region->start; at < region->end;) {
            uint64_t pages = (region->end - at) / PAGE;

            if (pages > 512)
                pages = 512;
            if (lm_pagemap_read(pagemap, at, pages, entries, err) < 0)
                goto out;
            for (uint64_t k = 0; k < pages; k++, at += PAGE) {
                uint64_t entry = entries[k], categories = region->categories;

                if (entry & ENTRY_PRESENT)
                    categories = (categories & ~(uint64_t)LM_PAGE_SWAPPED) | LM_PAGE_PRESENT;   /* came back meanwhile */
                else if (entry & ENTRY_GUARD)
                    categories = LM_PAGE_GUARD;
                else if (!(entry & ENTRY_SWAP))
                    continue;
                /* Swap type 0, offset 0 is the header of the swap area and never a page: the kernel shows nothing of the entry. */
                else if (!(entry & ENTRY_FRAME))
                    categories |= LM_PAGE_HIDDEN;
                else if ((entry & ENTRY_TYPE) == MARKER_TYPE)
                    continue;
                if (lm_array_add(&resolved, at, at + PAGE, categories, err) < 0)
                    goto out;
            }
        }
    }
    found->count = first;
    if (lm_array_reserve(found, first + resolved.count, err) < 0)
        goto out;
    for (uint64_t i = 0; i < resolved.count; i++)
        found->regions[found->count++] = resolved.regions[i];
    result = 0;
out:
    lm_array_free(&resolved);
    return result;
}

int lm_pagemap_scan(int pagemap, const uint64_t *starts, const uint64_t *ends, const uint8_t *kinds, uint64_t count, unsigned flags,
                    lm_array *found, lm_error *err)
{
    const uint64_t there = LM_PAGE_PRESENT | LM_PAGE_SWAPPED;
    uint64_t first = found->count;
    int swapped = 0;

    for (uint64_t i = 0; i < count; i++) {
        int file = kinds[i] & LM_RANGE_FILE;
        uint64_t extra = file ? LM_PAGE_IN_FILE : 0;
        uint64_t answer = there | LM_PAGE_WPALLOWED | LM_PAGE_WRITTEN | LM_PAGE_ZERO | (file ? (uint64_t)LM_PAGE_FILE : 0);
        struct scan_request request = { .category_anyof_mask = there, .return_mask = answer };

        if (flags & LM_SCAN_PROTECT) {
            /* The kernel skips areas that are not registered, so the second walk finds exactly those. */
            request.flags = SCAN_WP_MATCHING;
            request.category_mask = LM_PAGE_WPALLOWED;
            if (scan_range(pagemap, &request, extra, starts[i], ends[i], flags & LM_SCAN_SLICED, found, err) < 0)
                return -1;
            request.flags = 0;
            request.category_inverted = LM_PAGE_WPALLOWED;
        }
        if (scan_range(pagemap, &request, extra, starts[i], ends[i], flags & LM_SCAN_SLICED, found, err) < 0)
            return -1;
    }
    for (uint64_t i = first; i < found->count && !swapped; i++)
        swapped = !!(found->regions[i].categories & LM_PAGE_SWAPPED);
    return swapped ? resolve_swap(pagemap, found, first, err) : 0;
}

int lm_guard_scan(int pagemap, const uint64_t *starts, const uint64_t *ends, uint64_t count, lm_array *found, lm_error *err)
{
    for (uint64_t i = 0; i < count; i++) {
        struct scan_request request = { .category_mask = SCAN_GUARD, .return_mask = SCAN_GUARD };
        uint64_t at = starts[i];

        if (walk(pagemap, &request, 0, &at, ends[i], found, err) < 0)
            return err->errnum == EINVAL ? 0 : -1;
    }
    return 0;
}

int lm_shared_scan(int pagemap, const uint64_t *starts, const uint64_t *ends, uint64_t count, unsigned flags, lm_array *written,
                   lm_array *untracked, lm_error *err)
{
    for (uint64_t i = 0; i < count; i++) {
        /* WRITTEN alone is the kernel's fast path; it skips areas that are not registered, which the second walk finds. */
        struct scan_request request = { .category_mask = LM_PAGE_WRITTEN, .return_mask = LM_PAGE_WRITTEN };
        struct scan_request rest = { .category_inverted = LM_PAGE_WPALLOWED, .category_mask = LM_PAGE_WPALLOWED };
        uint64_t at = starts[i];

        if (flags & LM_SCAN_PROTECT)
            request.flags = SCAN_WP_MATCHING;
        if (scan_range(pagemap, &request, 0, starts[i], ends[i], flags & LM_SCAN_SLICED, written, err) < 0
            || walk(pagemap, &rest, 0, &at, ends[i], untracked, err) < 0)
            return -1;
    }
    return 0;
}

int lm_file_data(int fd, uint64_t size, lm_array *found, lm_error *err)
{
    off_t at = 0, end;

    while ((uint64_t)at < size) {
        at = lseek(fd, at, SEEK_DATA);
        if (at < 0 && errno == ENXIO)
            return 0;
        end = at < 0 ? -1 : lseek(fd, at, SEEK_HOLE);
        if (end < 0)
            return lm_fail(err, "lseek(SEEK_DATA)", fd, "where the object has data cannot be told");
        if (end <= at)
            return lm_refuse(err, "lseek(SEEK_HOLE)", fd, "the search for data does not move on");
        if (lm_array_add(found, (uint64_t)at & ~(PAGE - 1), ((uint64_t)end + PAGE - 1) & ~(PAGE - 1), 0, err) < 0)
            return -1;
        at = end;
    }
    return 0;
}

static int is_zero(const uint64_t *page)
{
    for (unsigned i = 0; i < PAGE / sizeof *page; i++)
        if (page[i])
            return 0;
    return 1;
}

int lm_zero_pages(const uint64_t *starts, const uint64_t *ends, uint64_t count, lm_array *found, lm_error *err)
{
    for (uint64_t i = 0; i < count; i++)
        for (uint64_t at = starts[i]; at < ends[i]; at += PAGE) {
            /* Most pages are told by their first word, which is in no cache. */
            if (at + AHEAD < ends[i])
                __builtin_prefetch((const void *)(uintptr_t)(at + AHEAD));
            if (is_zero((const uint64_t *)(uintptr_t)at) && lm_array_add(found, at, at + PAGE, 0, err) < 0)
                return -1;
        }
    return 0;
}

int lm_pagemap_judge(const lm_array *found, lm_array *data, lm_array *changed, lm_array *untracked, lm_array *zero, lm_array *guards,
                     lm_error *err)
{
    int ascending = 1;

    for (uint64_t i = 0; i < found->count; i++) {
        const lm_region *region = &found->regions[i];
        uint64_t says = region->categories;
        int unknown, in_file = !!(says & LM_PAGE_IN_FILE);

        ascending &= !i || region->start >= region[-1].end;
        if (says & LM_PAGE_GUARD) {
            if (lm_array_add(guards, region->start, region->end, 0, err) < 0)
                return -1;
            continue;
        }
        if (says & LM_PAGE_FILE)
            continue;
        if ((says & LM_PAGE_ZERO) && !in_file) {
            if (lm_array_add(zero, region->start, region->end, 0, err) < 0)
                return -1;
            continue;
        }
        /* A hidden entry may be a marker, under which "not written" says nothing; a zero page in a mapping of a file is content, since
           the file may say otherwise. */
        unknown = !(says & LM_PAGE_WPALLOWED);
        if (lm_array_add(data, region->start, region->end, 0, err) < 0)
            return -1;
        if ((unknown || (says & (LM_PAGE_WRITTEN | LM_PAGE_HIDDEN)) || (says & LM_PAGE_ZERO))
            && lm_array_add(changed, region->start, region->end, 0, err) < 0)
            return -1;
        if (unknown && lm_array_add(untracked, region->start, region->end, 0, err) < 0)
            return -1;
    }
    return ascending;
}

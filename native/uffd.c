#include "uffd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/userfaultfd.h>

#include "pagemap.h"

#define PAGE 4096ULL
#define SLICE (16ULL << 20)
#define SLICE_PAUSE_NS 50000

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
_Static_assert(LM_UFFD_FLAGS == (UFFD_USER_MODE_ONLY | O_NONBLOCK | O_CLOEXEC), "the flags are spelled out in the declaration");

int lm_fd_fetch(int pidfd, int fd, lm_error *err)
{
    int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

    if (copy < 0)
        return lm_fail(err, "pidfd_getfd", fd, "cannot fetch descriptor %d of the target", fd);
    return copy;
}

int lm_uffd_api(int uffd, lm_error *err)
{
    struct uffdio_api api = { .api = UFFD_API, .features = LM_UFFD_FEATURES };

    if (!ioctl(uffd, UFFDIO_API, &api))
        return 0;
    if (errno == EINVAL)
        return 1;
    return lm_fail(err, "ioctl(UFFDIO_API)", uffd, "asynchronous write-protection");
}

static int register_one(int uffd, uint64_t start, uint64_t end, int on)
{
    struct uffdio_register request = { .range = { start, end - start }, .mode = UFFDIO_REGISTER_MODE_WP };

    if (on)
        return ioctl(uffd, UFFDIO_REGISTER, &request);
    return ioctl(uffd, UFFDIO_UNREGISTER, &request.range);
}

int lm_uffd_register(int uffd, const uint64_t *starts, const uint64_t *ends, uint64_t count, int on, int32_t *status, lm_error *err)
{
    int done = 0;

    for (uint64_t i = 0; i < count; i++) {
        status[i] = register_one(uffd, starts[i], ends[i], on) ? errno : 0;
        if (status[i] == EBADF || status[i] == ENOTTY)
            return lm_fail(err, on ? "ioctl(UFFDIO_REGISTER)" : "ioctl(UFFDIO_UNREGISTER)", uffd, "not a userfaultfd");
        done += !status[i];
    }
    return done;
}

static int unprotect_one(int uffd, uint64_t start, uint64_t end)
{
    struct uffdio_writeprotect request = { .range = { start, end - start } };

    return ioctl(uffd, UFFDIO_WRITEPROTECT, &request);
}

int lm_uffd_unprotect(int uffd, const uint64_t *starts, const uint64_t *ends, uint64_t count, int sliced, int32_t *status,
                      lm_error *err)
{
    const struct timespec pause = { 0, SLICE_PAUSE_NS };
    uint64_t since_pause = 0;
    int done = 0;

    for (uint64_t i = 0; i < count; i++) {
        status[i] = 0;
        for (uint64_t at = starts[i]; at < ends[i] && !status[i];) {
            uint64_t stop = sliced ? (at & ~(SLICE - 1)) + SLICE : ends[i];

            if (stop > ends[i])
                stop = ends[i];
            if (unprotect_one(uffd, at, stop))
                status[i] = errno;
            if (status[i] == EBADF || status[i] == ENOTTY)
                return lm_fail(err, "ioctl(UFFDIO_WRITEPROTECT)", uffd, "not a userfaultfd");
            since_pause += stop - at;
            at = stop;
            if (sliced && since_pause >= SLICE) {
                clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
                since_pause = 0;
            }
        }
        done += !status[i];
    }
    return done;
}

int lm_uffd_alive(int uffd, lm_error *err)
{
    /* The lowest page a program may map is hardly ever mapped; if it is, "read as written" is only a false alarm. */
    if (!unprotect_one(uffd, 65536, 65536 + PAGE) || errno == ENOENT)
        return 1;
    if (errno == ESRCH)
        return 0;
    return lm_fail(err, "ioctl(UFFDIO_WRITEPROTECT)", uffd, "cannot tell whether its memory still exists");
}

/* The categories of one page of ours; protects it if asked. -1 with errno set. */
static int page_says(int pagemap, const void *page, int protect, uint64_t *categories)
{
    uint64_t start = (uint64_t)(uintptr_t)page, end = start + PAGE;
    uint8_t kind = 0;
    lm_array found = { 0 };
    lm_error err = { 0 };

    *categories = 0;
    if (lm_pagemap_scan(pagemap, &start, &end, &kind, 1, protect ? LM_SCAN_PROTECT : 0, &found, &err) < 0) {
        lm_array_free(&found);
        errno = err.errnum;
        return -1;
    }
    if (found.count)
        *categories = found.regions[0].categories;
    lm_array_free(&found);
    return 0;
}

static int probe_pages(int uffd, int pagemap, char *page, char *place, int *moved, int32_t *errnum)
{
    const uint64_t tracked = LM_PAGE_WPALLOWED | LM_PAGE_PRESENT;
    uint64_t categories;

    page[0] = 1;
    if (register_one(uffd, (uint64_t)(uintptr_t)page, (uint64_t)(uintptr_t)page + PAGE, 1)) {
        *errnum = errno;
        return LM_UFFD_NO_ASYNC;
    }
    if (page_says(pagemap, page, 1, &categories)) {
        *errnum = errno;
        return LM_UFFD_NO_SCAN;
    }
    if (categories != (tracked | LM_PAGE_WRITTEN))
        return LM_UFFD_WRONG;
    if (page_says(pagemap, page, 0, &categories) || categories != tracked)
        return LM_UFFD_WRONG;
    page[0] = 2;
    if (page_says(pagemap, page, 1, &categories) || categories != (tracked | LM_PAGE_WRITTEN))
        return LM_UFFD_WRONG;
    /* A moved page must not keep "not written" from its old place (some kernels between 6.7 and 6.11 may). */
    if (mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == MAP_FAILED)
        return LM_UFFD_WRONG;
    *moved = 1;
    place[0] = 3;
    if (register_one(uffd, (uint64_t)(uintptr_t)place, (uint64_t)(uintptr_t)place + PAGE, 1) && errno != EBUSY)
        return LM_UFFD_WRONG;
    if (page_says(pagemap, place, 0, &categories) || categories != (tracked | LM_PAGE_WRITTEN))
        return LM_UFFD_WRONG;
    return LM_UFFD_WORKS;
}

int lm_uffd_probe(int32_t *errnum, lm_error *err)
{
    int uffd, pagemap, answer, moved = 0;
    char *memory;

    *errnum = 0;
    uffd = (int)syscall(SYS_userfaultfd, LM_UFFD_FLAGS);
    if (uffd < 0) {
        *errnum = errno;
        return LM_UFFD_NO_CALL;
    }
    if (lm_uffd_api(uffd, NULL)) {
        *errnum = EINVAL;
        close(uffd);
        return LM_UFFD_NO_ASYNC;
    }
    pagemap = lm_pagemap_open(getpid(), err);
    if (pagemap < 0) {
        close(uffd);
        return -1;
    }
    /* A page and a place to move it to, with inaccessible pages around both: neither merges with memory that another of our threads
       may want to remap. */
    memory = mmap(NULL, 5 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        lm_fail(err, "mmap", 0, "five pages for the probe");
        close(pagemap);
        close(uffd);
        return -1;
    }
    mprotect(memory + PAGE, PAGE, PROT_READ | PROT_WRITE);
    mprotect(memory + 3 * PAGE, PAGE, PROT_READ | PROT_WRITE);
    answer = probe_pages(uffd, pagemap, memory + PAGE, memory + 3 * PAGE, &moved, errnum);
    munmap(memory, PAGE);
    /* Once moved away, the old place may already be another thread's. */
    if (!moved)
        munmap(memory + PAGE, PAGE);
    munmap(memory + 2 * PAGE, 3 * PAGE);
    close(pagemap);
    close(uffd);
    return answer;
}

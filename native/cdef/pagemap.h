/* Which pages of a process are there, written, zero, in swap: PAGEMAP_SCAN and the entries of /proc/PID/pagemap
   (Documentation/admin-guide/mm/pagemap.rst). All ranges are bytes, page aligned, end exclusive. */

enum {
    /* What the kernel says of a page (PAGE_IS_* of linux/fs.h). */
    LM_PAGE_WPALLOWED = 1,    /* its area is registered for asynchronous write-protection: WRITTEN means something */
    LM_PAGE_WRITTEN = 2,      /* not write-protected: written since the last protect, or never protected */
    LM_PAGE_FILE = 4,         /* of a file or shared memory, not anonymous */
    LM_PAGE_PRESENT = 8,
    LM_PAGE_SWAPPED = 16,     /* here: in swap for certain, or (with HIDDEN) perhaps; markers are taken out of the answer */
    LM_PAGE_ZERO = 32,        /* the zero page */
    LM_PAGE_HUGE = 64,
    /* What we add. */
    LM_PAGE_IN_FILE = 256,    /* found in a range of which FILE was asked (LM_RANGE_FILE) */
    LM_PAGE_HIDDEN = 512,     /* SWAPPED, but the kernel hides the entry (no CAP_SYS_ADMIN): swap or a marker */
    LM_PAGE_GUARD = 1024      /* a guard page (MADV_GUARD_INSTALL, shown since 6.15): nothing else is said of it */
};

enum { LM_RANGE_FILE = 1 };       /* of a range: ask for FILE (ten times as slow, so only where files are mapped) */

enum {
    LM_SCAN_PROTECT = 1,          /* write-protect what is reported, in the same step */
    LM_SCAN_SLICED = 2            /* the target runs: slices of 16 MiB, with pauses in which its own mmap and munmap get their turn */
};

/* Open /proc/PID/pagemap. Bound to the program that runs in the process now: after an exec, scans through it fail with ESRCH. */
int lm_pagemap_open(int pid, lm_error *err);
/* Append to `found` every page of the ranges that is present or in swap, as regions of equal categories. Ascending within a range, except
   that with LM_SCAN_PROTECT the untracked areas of a range come after the tracked ones.
   With LM_SCAN_PROTECT, get and protect are one step of the kernel: no write is lost between them. Only pages that are reported are
   protected, so no page tables appear for untouched memory. If it fails, some pages may be protected already: treat all as written. */
int lm_pagemap_scan(int pagemap, const uint64_t *starts, const uint64_t *ends, const uint8_t *kinds, uint64_t count, unsigned flags,
                    lm_array *found, lm_error *err);
/* Append to `found` the guard pages of any ranges, shared mappings of files too. Finds none before Linux 6.15, which does not tell. */
int lm_guard_scan(int pagemap, const uint64_t *starts, const uint64_t *ends, uint64_t count, lm_array *found, lm_error *err);
/* Of mappings of shared memory: append to `written` what was written through them since the last protect, and every page that has no entry in
   the page table yet; to `untracked` all of areas that are not registered. With LM_SCAN_PROTECT a page without an entry gets a marker, so
   that the next scan tells whether it was written since (UFFD_FEATURE_WP_UNPOPULATED). Writes through other mappings are not seen here. */
int lm_shared_scan(int pagemap, const uint64_t *starts, const uint64_t *ends, uint64_t count, unsigned flags, lm_array *written,
                   lm_array *untracked, lm_error *err);
/* Append to `found` the ranges of a file of `size` bytes that have data (SEEK_DATA, lseek(2)), in whole pages. */
int lm_file_data(int fd, uint64_t size, lm_array *found, lm_error *err);
/* Append to `found` those pages of the ranges, addresses in our own memory, that are all zero. */
int lm_zero_pages(const uint64_t *starts, const uint64_t *ends, uint64_t count, lm_array *found, lm_error *err);
/* Raw entries of /proc/PID/pagemap for `pages` pages from `start`. Refuses a short answer: the program is gone. */
int lm_pagemap_read(int pagemap, uint64_t start, uint64_t pages, uint64_t *entries, lm_error *err);

/* What the regions of one scan mean for a layer. Each set is appended to, ascending if the regions are, neighbours joined:
   data: pages that need an entry in a layer: there, not zero, and in a private mapping of a file no longer the file's own page;
   changed: of these, written since the last protect, or not known; untracked: of these, not known because not registered;
   zero: of anonymous memory, there and zero; guards: guard pages, which no other set has.
   Returns 1 if the regions, and so the sets, ascend; else 0. */
int lm_pagemap_judge(const lm_array *found, lm_array *data, lm_array *changed, lm_array *untracked, lm_array *zero, lm_array *guards,
                     lm_error *err);

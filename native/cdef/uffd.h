/* userfaultfd in asynchronous write-protect mode: the kernel notes each first write to a protected page by itself, nobody is asked and
   nothing can block (Documentation/admin-guide/mm/userfaultfd.rst). The descriptor belongs to the target's memory wherever it is used. */

enum {
    LM_UFFD_FEATURES = 0xb000,    /* UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED | UFFD_FEATURE_WP_HUGETLBFS_SHMEM */
    LM_UFFD_FLAGS = 02004001      /* UFFD_USER_MODE_ONLY | O_NONBLOCK | O_CLOEXEC: works without privilege in the target */
};

/* What lm_uffd_probe found. */
enum {
    LM_UFFD_WORKS = 0,
    LM_UFFD_NO_CALL = 1,          /* userfaultfd(2) is refused or missing: errnum says which */
    LM_UFFD_NO_ASYNC = 2,         /* no WP_ASYNC or WP_UNPOPULATED: before Linux 6.7 */
    LM_UFFD_NO_SCAN = 3,          /* no PAGEMAP_SCAN: before Linux 6.7 */
    LM_UFFD_WRONG = 4             /* it works, but a page moved by mremap keeps a stale answer, or a write is not reported */
};

/* Try it all on pages of our own: register, protect, write, scan, move. Returns LM_UFFD_*; *errnum is the errno of a refusal. */
int lm_uffd_probe(int32_t *errnum, lm_error *err);
/* The UFFDIO_API handshake with LM_UFFD_FEATURES. Returns 0, or 1 if it was done before (EINVAL: the caller compares the features). */
int lm_uffd_api(int uffd, lm_error *err);
/* Register (on = 1) or unregister (on = 0) ranges, each a whole area: half a registered area breaks the target's own mremap.
   status[i] is 0 or the errno of range i. Returns how many succeeded. */
int lm_uffd_register(int uffd, const uint64_t *starts, const uint64_t *ends, uint64_t count, int on, int32_t *status, lm_error *err);
/* Let registered ranges read as written again (UFFDIO_WRITEPROTECT without its WP flag). sliced = 1: in slices of 16 MiB with pauses of
   50 µs, for a running target. status as above, ENOENT where a range is not registered (any more). Returns how many succeeded. */
int lm_uffd_unprotect(int uffd, const uint64_t *starts, const uint64_t *ends, uint64_t count, int sliced, int32_t *status,
                      lm_error *err);
/* Whether the memory this descriptor belongs to still exists: 1, 0, or -1. Touches nothing. */
int lm_uffd_alive(int uffd, lm_error *err);
/* A copy of descriptor `fd` of the process behind `pidfd` (pidfd_getfd(2)), close-on-exec. */
int lm_fd_fetch(int pidfd, int fd, lm_error *err);

/* Holes in files: fallocate(2) FALLOC_FL_PUNCH_HOLE, lseek(2) SEEK_HOLE. All offsets and lengths in bytes. */

/* Free the blocks under `count` ranges; they read as zeros afterwards, the size stays. Stops at the first failure: err->object is its
   offset, EOPNOTSUPP means that the file system cannot do it. */
int lm_punch_ranges(int fd, const uint64_t *offset, const uint64_t *length, uint64_t count, lm_error *err);

/* The holes of a file within [from, to), ascending, into two arrays of `room`; returns how many there are, which may be more than `room`
   (the rest is counted, not stored). A file system that knows no holes has none. */
int64_t lm_punch_holes(int fd, uint64_t from, uint64_t to, uint64_t *start, uint64_t *end, uint64_t room, lm_error *err);

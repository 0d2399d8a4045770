/* Files that share blocks: ioctl_fideduperange(2), ioctl FIEMAP. All offsets and lengths in bytes. */

/* Let pairs of ranges share their blocks: pair i is `length[i]` bytes at `from[i]` of `from_fd` and at `to[i]` of `to_fd`, which gives its own
   blocks up. The kernel compares the contents under lock and shares only what is equal, so no file changes what it reads as. shared[i] gets
   the bytes that were shared; fewer than asked for where the contents differ. Descriptors: `to_fd` must be open for writing, or be the
   caller's. Stops at the first failure: err->object is the index of the pair; EOPNOTSUPP, EINVAL or ENOTTY means that the file system
   cannot do it, EXDEV that the two files lie on different ones. */
int lm_reflink_share(int from_fd, int to_fd, const uint64_t *from, const uint64_t *to, const uint64_t *length, uint64_t count,
                     uint64_t *shared, lm_error *err);

/* Where the data of a file lies on its device: stretches that follow each other in the file and on the device, ascending, into arrays of
   `room`; returns how many were stored, which is less than there are if they end below the end of the file: call again from there. Holes are
   left out. `place` is UINT64_MAX where blocks have no place of their own (not yet written, compressed, inside an inode). Data that was not
   written back yet is written first. */
int64_t lm_reflink_extents(int fd, uint64_t from, uint64_t *start, uint64_t *size, uint64_t *place, uint64_t room, lm_error *err);

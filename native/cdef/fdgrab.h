/* Descriptor tables as the kernel shows them from outside, and copies of single descriptors. Nothing here changes the process looked at. */

/* One descriptor. The texts lie in the caller's text buffer, without a final zero. */
typedef struct {
    int32_t fd;
    uint32_t mode;              /* st_mode of the file behind it; 0 if it could not be looked at */
    uint64_t dev, ino, rdev, size, nlink;
    uint32_t file_system;       /* f_type (statfs(2)) of what may be a message queue, else 0 */
    uint32_t link_at, link_len; /* where /proc/PID/fd/FD points */
    uint32_t info_at, info_len; /* /proc/PID/fdinfo/FD */
    int32_t owner_type, owner_pid, owner_signal;    /* F_GETOWN_EX, F_GETSIG; owner_pid 0 if nobody */
    uint32_t owner_uid, owner_euid;                 /* F_GETOWNER_UIDS */
    int32_t pipe_size;          /* F_GETPIPE_SZ; 0 if not a pipe */
    int32_t pipe_bytes;         /* bytes waiting in the pipe */
} lm_fd;

/* A descriptor of another process that is one of the inodes asked for. */
typedef struct {
    int32_t pid, fd;
    uint64_t inode;
    uint32_t flags;             /* open flags from its fdinfo, octal there */
    int32_t is_socket;          /* "socket:[N]", else "pipe:[N]": each has inodes of its own */
} lm_holder;

/* All descriptors of `pid`, ascending. With pidfd >= 0 also what only a copy of each can tell (owner, pipe).
   Returns how many; -1 with ENOSPC if `room` or `text_room` is too small, with ESRCH if it is gone. A descriptor closed meanwhile is left out. */
int lm_fd_table(int pid, int pidfd, lm_fd *fds, int room, char *text, uint64_t text_room, lm_error *err);
/* kcmp(2) among `count` things of one type (KCMP_*); `fds` are descriptors of `pids` for KCMP_FILE, else 0. first[i]: the lowest index of
   what is the same as i. `sorted`: room for `count`. Its order makes it n log n calls. Returns how many different ones there are. */
int lm_kcmp_alike(const int32_t *pids, const int32_t *fds, int count, int type, int32_t *first, int32_t *sorted, lm_error *err);
/* kcmp(KCMP_EPOLL_TFD): 0 if descriptor `fd` of `pid` is the file that its epoll `epfd` watches under number `tfd` (nth of that number). */
int lm_kcmp_epoll(int pid, int fd, int epfd, int tfd, int nth, lm_error *err);
/* The contents of a pipe as a pipe of our own, by tee(2), consuming nothing: returns its reading end. `end` may be either end.
   *bytes: how much is in it. */
int lm_pipe_copy(int end, int *bytes, lm_error *err);
/* Every process that holds one of `inodes` (a pipe or socket). *unreadable: processes whose descriptors we may not see. */
int lm_holders(const uint64_t *inodes, int count, lm_holder *holders, int room, int *unreadable, lm_error *err);
/* getsockopt(2) for options that read from the buffer what they are asked about: 0, or the errno. */
int lm_option_get(int fd, int level, int option, void *value, uint32_t size);

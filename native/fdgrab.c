/* Descriptor tables read in one go: inside a freeze every descriptor costs a dozen system calls, and no Python in between. */
#include "fdgrab.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef F_GETOWNER_UIDS
#define F_GETOWNER_UIDS 17
#endif

static int by_number(const void *a, const void *b)
{
    return ((const lm_fd *)a)->fd - ((const lm_fd *)b)->fd;
}

/* The numeric entries of a /proc directory; returns -1 at the end, -2 for a name that is no number. */
static int next_number(DIR *dir)
{
    struct dirent *entry = readdir(dir);

    if (!entry)
        return -1;
    return isdigit((unsigned char)entry->d_name[0]) ? atoi(entry->d_name) : -2;
}

static void ask_copy(int pidfd, lm_fd *out)
{
    struct f_owner_ex owner = {0};
    uid_t uids[2] = {0};
    int copy = syscall(SYS_pidfd_getfd, pidfd, out->fd, 0);

    if (copy < 0)
        return;
    if (!fcntl(copy, F_GETOWN_EX, &owner) && owner.pid) {
        out->owner_type = owner.type;
        out->owner_pid = owner.pid;
        if (!fcntl(copy, F_GETOWNER_UIDS, uids)) {
            out->owner_uid = uids[0];
            out->owner_euid = uids[1];
        }
    }
    out->owner_signal = fcntl(copy, F_GETSIG);
    if (out->owner_signal < 0)
        out->owner_signal = 0;
    if (S_ISFIFO(out->mode)) {
        out->pipe_size = fcntl(copy, F_GETPIPE_SZ);
        if (ioctl(copy, FIONREAD, &out->pipe_bytes))
            out->pipe_bytes = 0;
    }
    close(copy);
}

/* ipc/mqueue.c (FILENT_SIZE): a message queue looks like a file of this size, on a file system without a device. */
#define MESSAGE_QUEUE_BYTES 80

/* The magic number of the file system behind one that may be a message queue; else 0. Others are not asked: the answer may be far away. */
static uint32_t file_system_of(int pid, int fd, const struct stat *st)
{
    char path[48];
    struct statfs found;

    if (!S_ISREG(st->st_mode) || st->st_size != MESSAGE_QUEUE_BYTES || major(st->st_dev))
        return 0;
    snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
    return statfs(path, &found) ? 0 : (uint32_t)found.f_type;
}

/* Read one descriptor's link, stat and fdinfo; returns 0 if it is gone, -1 with ENOSPC if the text does not fit. */
static int look(int pid, int fds_dir, int info_dir, lm_fd *out, char *text, uint64_t text_room, uint64_t *used)
{
    char name[16];
    struct stat st;
    ssize_t got;
    int info;

    snprintf(name, sizeof name, "%d", out->fd);
    got = readlinkat(fds_dir, name, text + *used, text_room - *used);
    if (got < 0)
        return 0;
    if (*used + got >= text_room)
        goto full;
    out->link_at = *used;
    out->link_len = got;
    *used += got;
    if (!fstatat(fds_dir, name, &st, 0)) {
        out->mode = st.st_mode;
        out->dev = st.st_dev;
        out->ino = st.st_ino;
        out->rdev = st.st_rdev;
        out->size = st.st_size;
        out->nlink = st.st_nlink;
        out->file_system = file_system_of(pid, out->fd, &st);
    }
    info = openat(info_dir, name, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return 0;
    out->info_at = *used;
    while ((got = read(info, text + *used, text_room - *used)) > 0)
        *used += got;
    close(info);
    if (*used >= text_room)
        goto full;
    out->info_len = *used - out->info_at;
    return 1;
full:
    errno = ENOSPC;
    return -1;
}

int lm_fd_table(int pid, int pidfd, lm_fd *fds, int room, char *text, uint64_t text_room, lm_error *err)
{
    char path[48];
    uint64_t used = 0;
    int count = 0, number, info_dir, seen = 0;
    DIR *dir;

    snprintf(path, sizeof path, "/proc/%d/fdinfo", pid);
    info_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (info_dir < 0)
        return lm_fail(err, "open(fdinfo)", pid, "descriptors cannot be read");
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    dir = opendir(path);
    if (!dir) {
        lm_fail(err, "open(fd)", pid, "descriptors cannot be read");
        close(info_dir);
        return -1;
    }
    while ((number = next_number(dir)) != -1) {
        if (number < 0)
            continue;
        if (count >= room) {
            errno = ENOSPC;
            seen = -1;
            break;
        }
        memset(&fds[count], 0, sizeof fds[count]);
        fds[count].fd = number;
        seen = look(pid, dirfd(dir), info_dir, &fds[count], text, text_room, &used);
        if (seen < 0)
            break;
        if (!seen)
            continue;
        if (pidfd >= 0)
            ask_copy(pidfd, &fds[count]);
        count++;
    }
    if (seen < 0)
        lm_fail(err, "descriptor table", pid, "more descriptors than there is room for");
    close(info_dir);
    closedir(dir);
    if (seen < 0)
        return -1;
    qsort(fds, count, sizeof *fds, by_number);
    return count;
}

int lm_kcmp_alike(const int32_t *pids, const int32_t *fds, int count, int type, int32_t *first, int32_t *sorted, lm_error *err)
{
    int known = 0;

    for (int i = 0; i < count; i++) {
        int low = 0, high = known;

        first[i] = i;
        while (low < high) {
            int middle = (low + high) / 2, other = sorted[middle];
            int order = syscall(SYS_kcmp, pids[i], pids[other], type, (unsigned long)fds[i], (unsigned long)fds[other]);

            if (order < 0)
                return lm_fail(err, "kcmp", pids[other], "what the processes share cannot be compared");
            if (!order) {
                first[i] = other;
                break;
            }
            if (order == 1)
                high = middle;
            else
                low = middle + 1;
        }
        if (first[i] != i)
            continue;
        /* No qsort(3): while the processes run the order may be none, and glibc 2.36 then writes beyond the array. */
        memmove(sorted + low + 1, sorted + low, (known - low) * sizeof *sorted);
        sorted[low] = i;
        known++;
    }
    return known;
}

int lm_kcmp_epoll(int pid, int fd, int epfd, int tfd, int nth, lm_error *err)
{
    struct kcmp_epoll_slot slot = {.efd = epfd, .tfd = tfd, .toff = nth};
    int order = syscall(SYS_kcmp, pid, pid, KCMP_EPOLL_TFD, (unsigned long)fd, (unsigned long)&slot);

    if (order < 0 && (errno == ENOENT || errno == EBADF))
        return 3;
    return order < 0 ? lm_fail(err, "kcmp(EPOLL_TFD)", epfd, "what the epoll watches cannot be compared") : order;
}

int lm_option_get(int fd, int level, int option, void *value, uint32_t size)
{
    socklen_t length = size;

    return getsockopt(fd, level, option, value, &length) < 0 ? errno : 0;
}

int lm_pipe_copy(int end, int *bytes, lm_error *err)
{
    char path[40];
    int own[2], size, waiting = 0, source, got = 0;

    *bytes = 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", end);
    /* A description of our own: its O_NONBLOCK is not the target's, and it reads even if `end` is the writing one. */
    source = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (source < 0)
        return lm_fail(err, "open(pipe)", end, "the pipe cannot be read");
    size = fcntl(source, F_GETPIPE_SZ);
    if (size < 0 || ioctl(source, FIONREAD, &waiting) < 0) {
        lm_fail(err, "F_GETPIPE_SZ", end, "the pipe cannot be asked");
        goto no_pipe;
    }
    if (pipe2(own, O_CLOEXEC | O_NONBLOCK) < 0) {
        lm_fail(err, "pipe2", end, "no pipe for the copy");
        goto no_pipe;
    }
    if (fcntl(own[0], F_GETPIPE_SZ) != size && fcntl(own[1], F_SETPIPE_SZ, size) < 0) {
        lm_fail(err, "F_SETPIPE_SZ", end, "a pipe of %d bytes is not allowed", size);
        goto no_copy;
    }
    if (waiting) {
        got = tee(source, own[1], waiting, SPLICE_F_NONBLOCK);
        if (got < 0) {
            lm_fail(err, "tee", end, "the pipe cannot be copied");
            goto no_copy;
        }
    }
    if (got != waiting) {
        lm_refuse(err, "tee", end, "%d bytes of %d in the pipe were copied", got, waiting);
        goto no_copy;
    }
    *bytes = got;
    close(own[1]);
    close(source);
    return own[0];
no_copy:
    close(own[0]);
    close(own[1]);
no_pipe:
    close(source);
    return -1;
}

static uint32_t open_flags(int pid, int fd)
{
    char path[48], text[256], *line;
    ssize_t got;
    int info;

    snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", pid, fd);
    info = open(path, O_RDONLY | O_CLOEXEC);
    if (info < 0)
        return 0;
    got = read(info, text, sizeof text - 1);
    close(info);
    text[got > 0 ? got : 0] = 0;
    line = strstr(text, "flags:");
    return line ? strtoul(line + 6, NULL, 8) : 0;
}

/* What of one process is among `inodes`; appends to `holders`, returns the new count or -1 if there is no room. */
static int holders_in(int pid, DIR *dir, const uint64_t *inodes, int inode_count, lm_holder *holders, int count, int room)
{
    char name[16], link[40];
    int number;

    while ((number = next_number(dir)) != -1) {
        uint64_t inode;
        ssize_t got;
        int is_socket;

        if (number < 0)
            continue;
        snprintf(name, sizeof name, "%d", number);
        got = readlinkat(dirfd(dir), name, link, sizeof link - 1);
        if (got < 0)
            continue;
        link[got] = 0;
        is_socket = !strncmp(link, "socket:[", 8);
        if (!is_socket && strncmp(link, "pipe:[", 6))
            continue;
        inode = strtoull(link + (is_socket ? 8 : 6), NULL, 10);
        for (int i = 0; i < inode_count; i++) {
            if (inodes[i] != inode)
                continue;
            if (count >= room)
                return -1;
            holders[count++] = (lm_holder){pid, number, inode, open_flags(pid, number), is_socket};
            break;
        }
    }
    return count;
}

int lm_holders(const uint64_t *inodes, int count, lm_holder *holders, int room, int *unreadable, lm_error *err)
{
    DIR *proc = opendir("/proc"), *dir;
    char path[32];
    int found = 0, pid;

    *unreadable = 0;
    if (!proc)
        return lm_fail(err, "open(/proc)", 0, "the processes cannot be listed");
    while (found >= 0 && (pid = next_number(proc)) != -1) {
        if (pid < 0)
            continue;
        snprintf(path, sizeof path, "/proc/%d/fd", pid);
        dir = opendir(path);
        if (!dir) {
            *unreadable += errno == EACCES;
            continue;
        }
        found = holders_in(pid, dir, inodes, count, holders, found, room);
        closedir(dir);
    }
    closedir(proc);
    if (found < 0) {
        errno = ENOSPC;
        return lm_fail(err, "holders", 0, "more holders than there is room for");
    }
    return found;
}

/* Small reads and writes of a stopped target's memory, and the clock: what the ptrace files share. */
#ifndef LAMINA_REMOTE_H
#define LAMINA_REMOTE_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

static inline int lm_peek(pid_t pid, uint64_t address, void *data, size_t size)
{
    struct iovec local = {data, size}, remote = {(void *)(uintptr_t)address, size};

    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -1;
}

static inline int lm_poke(pid_t pid, uint64_t address, const void *data, size_t size)
{
    struct iovec local = {(void *)(uintptr_t)data, size}, remote = {(void *)(uintptr_t)address, size};

    return process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -1;
}

uint64_t lm_now_ns(void);
#endif

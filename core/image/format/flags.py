"""Numbers in the images that code, and not only people, must tell apart."""

import enum


class PageFlag(enum.IntFlag):
    """`pagemap_entry.flags` (criu/include/pagemap.h)."""

    PARENT = 1
    LAZY = 2
    PRESENT = 4


class VmaStatus(enum.IntFlag):
    """`vma_entry.status` (criu/include/image.h)."""

    REGULAR = 1 << 0
    STACK = 1 << 1
    VSYSCALL = 1 << 2
    VDSO = 1 << 3
    HEAP = 1 << 5
    FILE_PRIVATE = 1 << 6
    FILE_SHARED = 1 << 7
    ANON_SHARED = 1 << 8
    ANON_PRIVATE = 1 << 9
    SYSVIPC = 1 << 10
    SOCKET = 1 << 11
    VVAR = 1 << 12
    AIO_RING = 1 << 13
    MEMFD = 1 << 14
    SHADOW_STACK = 1 << 15
    GUARD = 1 << 16
    UPROBES = 1 << 17


class TaskState(enum.IntEnum):
    """`task_core_entry.task_state`."""

    ALIVE = 1
    DEAD = 2
    STOPPED = 3

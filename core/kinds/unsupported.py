"""What a descriptor is when no kind knows it, in words a user knows."""

import os
import stat
from typing import Final

from lamina.core.errors import Blocker
from lamina.core.objects.rawfd import RawFd

# Beginning of the link → what it is. The longest beginning that fits wins.
_NAMES: Final = {
    "anon_inode:[timerfd]": "a timer descriptor (timerfd)",
    "anon_inode:[signalfd]": "a signal descriptor (signalfd)",
    "anon_inode:inotify": "an inotify instance",
    "anon_inode:[fanotify]": "a fanotify group",
    "anon_inode:[userfaultfd]": "a userfaultfd of its own",
    "anon_inode:[io_uring]": "an io_uring",
    "anon_inode:[pidfd]": "a pidfd",
    "pidfd:": "a pidfd",
    "anon_inode:[perf_event]": "a performance counter (perf_event_open)",
    "anon_inode:bpf": "a BPF object",
    "anon_inode:btf": "a BPF object",
    "anon_inode:kvm": "a virtual machine (KVM)",
    "anon_inode:dma": "a shared graphics buffer",
    "/dmabuf:": "a shared graphics buffer",
    "anon_inode:sync_file": "a graphics fence",
    "anon_inode:seccomp notify": "a seccomp listener",
    "anon_inode:[landlock-ruleset]": "a Landlock ruleset",
    "anon_inode:": "a kernel object",
    "/memfd:": "a memory file (memfd)",
    "/secretmem": "secret memory (memfd_secret)",
}
_DEVICES: Final = {
    (5, 2): "the controlling side of a pseudo-terminal",
    (10, 229): "a FUSE connection",
    (10, 232): "a virtual machine (KVM)",
    (10, 200): "a network tunnel",
    (1, 1): "the machine's memory",
    (1, 11): "the kernel log",
}


def kind_in_words(raw: RawFd) -> str:
    """What the descriptor is."""
    if raw.is_message_queue:
        return "a POSIX message queue"
    fitting = [start for start in _NAMES if raw.link.startswith(start)]
    if fitting:
        return _NAMES[max(fitting, key=len)]
    if stat.S_ISFIFO(raw.mode):
        return "a named pipe (FIFO)"
    if stat.S_ISBLK(raw.mode):
        return "a block device"
    if stat.S_ISCHR(raw.mode):
        return _DEVICES.get((os.major(raw.rdev), os.minor(raw.rdev)), "a device with state of its own")
    if ":[" in raw.link and not raw.link.startswith("/"):
        return "a namespace" if raw.link.partition(":")[0] in _NAMESPACES else "a kernel object"
    return "of an unknown kind"


_NAMESPACES: Final = frozenset({"mnt", "net", "pid", "ipc", "uts", "user", "cgroup", "time"})


def unsupported(raw: RawFd) -> Blocker:
    """The blocker for a descriptor that no kind knows."""
    return raw.blocker(f"{kind_in_words(raw)}: not supported yet", "close it before the dump")

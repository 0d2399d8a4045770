"""The names of numbers: flags, states and types as the headers of Linux call them, in the short form that people say."""

from lamina.core.image.format import PageFlag, VmaStatus

PROT = {1: "read", 2: "write", 4: "exec", 0x1000000: "growsdown", 0x2000000: "growsup"}
MAP = {
    1: "shared", 2: "private", 8: "droppable", 0x10: "fixed", 0x20: "anonymous", 0x100: "growsdown", 0x800: "denywrite", 0x2000: "locked",
    0x4000: "noreserve", 0x8000: "populate", 0x20000: "stack", 0x40000: "hugetlb", 0x80000: "sync",
}  # fmt: skip
STATUS = {int(bit): str(bit.name).lower().replace("_", "-") for bit in VmaStatus} | {1 << 27: "plugin", 1 << 31: "unsupported"}
PAGE = {int(bit): str(bit.name).lower() for bit in PageFlag}
MADVICE = {
    1 << number: name
    for number, name in {
        1: "random", 2: "sequential", 10: "dontfork", 12: "mergeable", 14: "hugepage", 15: "nohugepage", 16: "dontdump", 18: "wipeonfork",
    }.items()
}  # fmt: skip
OPEN = {
    1: "wronly", 2: "rdwr", 0o100: "creat", 0o200: "excl", 0o400: "noctty", 0o1000: "trunc", 0o2000: "append", 0o4000: "nonblock",
    0o4010000: "sync", 0o10000: "dsync", 0o20000: "async", 0o40000: "direct", 0o100000: "largefile", 0o20200000: "tmpfile",
    0o200000: "directory", 0o400000: "nofollow", 0o1000000: "noatime", 0o2000000: "cloexec", 0o10000000: "path",
}  # fmt: skip
FD = {1: "cloexec"}
ACTION = {
    1: "nocldstop", 2: "nocldwait", 4: "siginfo", 0x04000000: "restorer", 0x08000000: "onstack", 0x10000000: "restart",
    0x40000000: "nodefer", 0x80000000: "resethand",
}  # fmt: skip
STACK = {1: "on", 2: "disable", 1 << 31: "autodisarm"}
STATE = {1: "alive", 2: "dead", 3: "stopped"}
PERSONALITY = {
    0x0040000: "addr-no-randomize", 0x0100000: "mmap-page-zero", 0x0200000: "addr-compat-layout", 0x0400000: "read-implies-exec",
    0x0800000: "addr-limit-32bit", 0x1000000: "short-inode", 0x2000000: "whole-seconds", 0x4000000: "sticky-timeouts", 8: "linux32",
}  # fmt: skip
POLICY = {0: "other", 1: "fifo", 2: "rr", 3: "batch", 5: "idle", 6: "deadline", 7: "ext"}
SECUREBITS = {
    1: "noroot", 2: "noroot-locked", 4: "no-setuid-fixup", 8: "no-setuid-fixup-locked", 16: "keep-caps", 32: "keep-caps-locked",
    64: "no-cap-ambient-raise", 128: "no-cap-ambient-raise-locked",
}  # fmt: skip
CAPABILITIES = (
    "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "linux_immutable",
    "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner", "sys_module", "sys_rawio", "sys_chroot",
    "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice", "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease",
    "audit_write", "audit_control", "setfcap", "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read",
    "perfmon", "bpf", "checkpoint_restore",
)  # fmt: skip
RLIMITS = (
    "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks", "sigpending", "msgqueue", "nice",
    "rtprio", "rttime",
)  # fmt: skip
AUXV = {
    3: "phdr", 4: "phent", 5: "phnum", 6: "pagesz", 7: "base", 8: "flags", 9: "entry", 11: "uid", 12: "euid", 13: "gid", 14: "egid",
    15: "platform", 16: "hwcap", 17: "clktck", 23: "secure", 24: "base_platform", 25: "random", 26: "hwcap2", 27: "rseq_feature_size",
    28: "rseq_align", 31: "execfn", 32: "sysinfo", 33: "sysinfo_ehdr", 51: "minsigstksz",
}  # fmt: skip
FAMILY = {1: "unix", 2: "inet", 10: "inet6", 16: "netlink", 17: "packet"}
SOCKET = {1: "stream", 2: "dgram", 3: "raw", 5: "seqpacket", 10: "packet"}
PROTOCOL = {0: "default", 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 136: "udplite", 255: "raw"}
TCP_STATE = {
    1: "established", 2: "syn-sent", 3: "syn-recv", 4: "fin-wait-1", 5: "fin-wait-2", 6: "time-wait", 7: "close", 8: "close-wait",
    9: "last-ack", 10: "listen", 11: "closing", 12: "new-syn-recv",
}  # fmt: skip
TCP_OPTIONS = {1: "timestamps", 2: "sack", 4: "wscale", 8: "ecn", 16: "ecn-seen", 32: "syn-data"}
CLOCK = {
    0: "realtime", 1: "monotonic", 2: "process-cputime", 3: "thread-cputime", 4: "monotonic-raw", 5: "realtime-coarse",
    6: "monotonic-coarse", 7: "boottime", 8: "realtime-alarm", 9: "boottime-alarm", 11: "tai",
}  # fmt: skip
NOTIFY = {0: "signal", 1: "none", 2: "thread", 4: "thread-id"}
EPOLL = {
    1: "in", 2: "pri", 4: "out", 8: "err", 0x10: "hup", 0x40: "rdnorm", 0x80: "rdband", 0x100: "wrnorm", 0x200: "wrband", 0x400: "msg",
    0x2000: "rdhup", 1 << 28: "exclusive", 1 << 29: "wakeup", 1 << 30: "oneshot", 1 << 31: "et",
}  # fmt: skip
INOTIFY = {
    1: "access", 2: "modify", 4: "attrib", 8: "close-write", 0x10: "close-nowrite", 0x20: "open", 0x40: "moved-from", 0x80: "moved-to",
    0x100: "create", 0x200: "delete", 0x400: "delete-self", 0x800: "move-self", 0x01000000: "onlydir", 0x02000000: "dont-follow",
    0x04000000: "excl-unlink", 0x20000000: "mask-add", 0x80000000: "oneshot",
}  # fmt: skip
SEALS = {1: "seal", 2: "shrink", 4: "grow", 8: "write", 16: "future-write", 32: "exec"}
NAMESPACE = {
    0x80: "time", 0x20000: "mnt", 0x02000000: "cgroup", 0x04000000: "uts", 0x08000000: "ipc", 0x10000000: "user", 0x20000000: "pid",
    0x40000000: "net",
}  # fmt: skip
MOUNT = {
    1: "ro", 2: "nosuid", 4: "nodev", 8: "noexec", 16: "sync", 64: "mandlock", 128: "dirsync", 1024: "noatime", 2048: "nodiratime",
    4096: "bind", 16384: "rec", 1 << 17: "unbindable", 1 << 18: "private", 1 << 19: "slave", 1 << 20: "shared", 1 << 21: "relatime",
}  # fmt: skip
DEVICE = {
    1: "up", 2: "broadcast", 4: "debug", 8: "loopback", 16: "pointopoint", 64: "running", 128: "noarp", 256: "promisc", 512: "allmulti",
    4096: "multicast", 0x10000: "lower-up",
}  # fmt: skip
PRE_DUMP = {1: "splice", 2: "read"}
NETWORK_LOCK = {1: "iptables", 2: "nft", 3: "skip"}
LOCK = {0: "read", 1: "write", 2: "unlock"}
LOCK_KIND = {1: "posix", 2: "flock", 1024: "ofd", 32: "lease"}
SIGNAL_CODE = {0: "user", -1: "queue", -2: "timer", -3: "mesgq", -4: "asyncio", -5: "sigio", -6: "tkill", 0x80: "kernel"}
CHILD_CODE = {1: "exited", 2: "killed", 3: "dumped", 4: "trapped", 5: "stopped", 6: "continued"}

"""How each field is written for people. What is not listed is shown as it is; all of it stays plain numbers and lists in JSON."""

import os
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from lamina.core.image.show import names
from lamina.core.image.show.signals import exit_status, signal_name, signal_set
from lamina.core.image.show.values import bits, with_names

Form = Callable[[Any], str]


def _hex(value: int) -> str:
    return f"{value:#x}"


def _octal(value: int) -> str:
    return f"{value:#o}"


def _flags(table: Mapping[int, str], form: Form = _hex) -> Form:
    return lambda value: with_names(form(value), bits(value, table)) if value else "0"


def _one_of(table: Mapping[int, str]) -> Form:
    return lambda value: f"{value} ({table[value]})" if value in table else str(value)


def _open_flags(value: int) -> str:
    return with_names(_octal(value), " ".join(filter(None, ("" if value & 3 else "rdonly", bits(value, names.OPEN)))))


def _device(value: int) -> str:
    return f"{value:#x} ({os.major(value)}:{os.minor(value)})"


def _kernel_device(value: int) -> str:
    # MKDEV of the kernel: 20 bits of minor number.
    return f"{value:#x} ({value >> 20}:{value & 0xFFFFF})"


def _signal(value: int) -> str:
    return f"{value} ({signal_name(value)})" if value else "0"


def _signals(value: int) -> str:
    return with_names(_hex(value), signal_set(value)) if value else "none"


def _handler(value: int) -> str:
    return {0: "default", 1: "ignore"}.get(value, _hex(value))


def _exit(value: int) -> str:
    return with_names(_hex(value), exit_status(value)) if value else "0"


def _limit(value: int) -> str:
    return "unlimited" if value == (1 << 64) - 1 else str(value)


def _capabilities(words: list[int]) -> str:
    value = sum(word << 32 * at for at, word in enumerate(words))
    if not value:
        return "none"
    if value == (1 << len(names.CAPABILITIES)) - 1:
        return f"all ({value:#x})"
    return with_names(_hex(value), bits(value, {1 << at: name for at, name in enumerate(names.CAPABILITIES)}))


def _address(words: list[int]) -> str:
    raw = b"".join(word.to_bytes(4, "little") for word in words)
    if len(raw) == 4:
        return str(IPv4Address(raw))
    return str(IPv6Address(raw)) if len(raw) == 16 else raw.hex()


def _auxv(words: list[int]) -> str:
    pairs = zip(words[::2], words[1::2], strict=False)
    return " ".join(f"{names.AUXV.get(key, key)}={value:#x}" for key, value in pairs if key or value)


def _build_id(words: list[int]) -> str:
    return b"".join(word.to_bytes(4, "little") for word in words).hex()


def _words(values: list[int]) -> str:
    return " ".join(map(_hex, values)) if any(values) else f"{len(values)} times 0"


_HEX = (
    "ax", "bp", "bx", "cx", "di", "dx", "si", "sp", "ip", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "orig_ax", "fs_base",
    "gs_base", "flags", "clear_tid_addr", "rip", "rdp", "mxcsr", "mxcsr_mask", "xstate_bv", "start", "end", "pgoff", "vaddr",
    "mm_start_code", "mm_end_code", "mm_start_data", "mm_end_data", "mm_start_stack", "mm_start_brk", "mm_brk", "mm_arg_start",
    "mm_arg_end", "mm_env_start", "mm_env_end", "futex_rla", "ss_sp", "restorer", "sival_ptr", "rseq_abi_pointer", "rseq_cs_pointer",
    "signature", "data", "c_iflag", "c_oflag", "c_cflag", "c_lflag", "pc", "lr", "fp", "pstate", "psw_mask", "psw_addr", "tls", "nip",
    "msr", "link", "ctr", "xfeatures_mask", "ssp", "cet", "key", "mark", "so_mark", "membarrier_registration_mask",
)  # fmt: skip
_WORDS = (
    "so_filter", "capability", "hwcap", "st_space", "xmm_space", "padding", "ymmh_space", "bndreg_state", "bndcsr_state", "opmask_reg",
    "zmm_upper", "hi16_zmm", "pkru", "regs", "vregs", "gpr", "gprs", "acrs", "fprs", "fpregs", "vrregs", "vsxregs", "vfp_regs", "f",
    "handle",
)  # fmt: skip
# By the name of a field, wherever it stands.
COMMON: dict[str, Form] = {
    **dict.fromkeys(_HEX, _hex), **dict.fromkeys(_WORDS, _words), "root_dev": _kernel_device, "mode": _octal,
}  # fmt: skip

_SOCKET: dict[str, Form] = {
    "flags": _open_flags, "type": _one_of(names.SOCKET), "state": _one_of(names.TCP_STATE),
}  # fmt: skip
_CAPABILITIES: dict[str, Form] = dict.fromkeys(("cap_inh", "cap_prm", "cap_eff", "cap_bnd", "cap_amb"), _capabilities)
_DESCRIPTORS = (
    "pipe_entry", "eventfd_file_entry", "eventpoll_file_entry", "inotify_file_entry", "fanotify_file_entry", "tty_file_entry",
    "memfd_file_entry", "bpfmap_file_entry", "pidfd_entry",
)  # fmt: skip
# By message, then field; these win.
FORMS: dict[str, dict[str, Form]] = {
    "vma_entry": {
        "prot": _flags(names.PROT), "flags": _flags(names.MAP), "status": _flags(names.STATUS), "madv": _flags(names.MADVICE),
        "fdflags": _open_flags,
    },
    "mm_entry": {"mm_saved_auxv": _auxv},
    "pagemap_entry": {"flags": _flags(names.PAGE, str)},
    "task_core_entry": {
        "task_state": _one_of(names.STATE), "exit_code": _exit, "personality": _flags(names.PERSONALITY), "blk_sigset": _signals,
        "stop_signo": _signal, "flags": _hex,
    },
    "thread_core_entry": {
        "blk_sigset": _signals, "pdeath_sig": _signal, "sched_policy": _one_of(names.POLICY),
    },
    "thread_sas_entry": {"ss_flags": _flags(names.STACK)},
    "creds_entry": {**_CAPABILITIES, "secbits": _flags(names.SECUREBITS)},
    "rlimit_entry": {"cur": _limit, "max": _limit},
    "sa_entry": {"sigaction": _handler, "flags": _flags(names.ACTION), "mask": _signals},
    "posix_timer_entry": {
        "clock_id": _one_of(names.CLOCK), "si_signo": _signal, "it_sigev_notify": _one_of(names.NOTIFY),
    },
    "timerfd_entry": {"flags": _open_flags, "clockid": _one_of(names.CLOCK)},
    "fdinfo_entry": {"flags": _flags(names.FD, str)},
    "fown_entry": {"signum": _signal},
    "reg_file_entry": {"flags": _open_flags, "build_id": _build_id},
    "eventpoll_tfd_entry": {"events": _flags(names.EPOLL), "dev": _kernel_device},
    "signalfd_entry": {"flags": _open_flags, "sigmask": _signals},
    "inotify_wd_entry": {"mask": _flags(names.INOTIFY), "s_dev": _kernel_device},
    "inet_sk_entry": {
        **_SOCKET, "family": _one_of(names.FAMILY), "proto": _one_of(names.PROTOCOL), "src_addr": _address, "dst_addr": _address,
    },
    "unix_sk_entry": {**_SOCKET, "uflags": _hex},
    "packet_sock_entry": {"flags": _open_flags, "type": _one_of(names.SOCKET)},
    "netlink_sk_entry": {"flags": _open_flags, "state": _one_of(names.TCP_STATE)},
    "tcp_stream_entry": {"opt_mask": _flags(names.TCP_OPTIONS)},
    "memfd_inode_entry": {"seals": _flags(names.SEALS)},
    "ns_file_entry": {"flags": _open_flags, "ns_cflag": _flags(names.NAMESPACE)},
    "mnt_entry": {"flags": _flags(names.MOUNT), "sb_flags": _flags(names.MOUNT)},
    "net_device_entry": {"flags": _flags(names.DEVICE)},
    "sit_entry": {"local": _address, "remote": _address},
    "file_lock_entry": {"flag": _flags(names.LOCK_KIND, str), "type": _one_of(names.LOCK)},
    "inventory_entry": {"pre_dump_mode": _one_of(names.PRE_DUMP), "network_lock_method": _one_of(names.NETWORK_LOCK)},
    "tty_info_entry": {"rdev": _device, "dev": _device},
    "fs_entry": {"umask": _octal},
    "irmap_cache_entry": {"dev": _kernel_device},
    "ghost_file_entry": {"mode": _octal, "dev": _kernel_device, "rdev": _device},
    **{kind: {"flags": _open_flags} for kind in _DESCRIPTORS},
}  # fmt: skip


def form_of(message: str, field: str) -> Form | None:
    """How a field of a message is written, or None if it is written as it is."""
    return FORMS.get(message, {}).get(field) or COMMON.get(field)

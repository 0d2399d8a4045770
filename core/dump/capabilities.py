"""What lamina needs of this kernel and this user, each found by doing it, with what its absence costs: `lamina check`."""

from pathlib import Path
from typing import Final

from lamina.core.dirty.choice import probe
from lamina.core.dirty.tracker import Capability
from lamina.core.ffi import C, check, new_error

# Capability of a process → bit (linux/capability.h), and what its absence costs.
_RIGHTS: Final = {
    "CAP_SYS_PTRACE": (19, "only programs of your own user can be dumped"),
    "CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN": (40, "no restore: a process cannot be given its pid"),
    "CAP_SYS_ADMIN": (21, "a seccomp filter of the target could kill it, so such programs are refused"),
    "CAP_SYS_RESOURCE": (24, "limits above lamina's own hard limits cannot be restored"),
    "CAP_SETUID and CAP_SETGID": (7, "only programs of your own user can be restored"),
}


def _native() -> list[tuple[str, int, str]]:
    return [
        ("ptrace seize and interrupt", C.LM_CAN_SEIZE, "nothing can be dumped or restored"),
        ("process_vm_readv, process_vm_writev", C.LM_CAN_WRITE_MEMORY, "nothing can be dumped or restored"),
        ("pidfd_getfd", C.LM_CAN_GETFD, "no dump, no restore: descriptors cannot be copied between processes"),
        ("kcmp", C.LM_CAN_KCMP, "no dump: which descriptors are one cannot be told"),
        ("children in /proc", C.LM_CAN_CHILDREN, "no dump: the processes of a tree cannot be found"),
        ("clone3 with set_tid", C.LM_CAN_SET_TID, "no restore: a process cannot be given its pid"),
        ("PR_SET_MM_MAP", C.LM_CAN_SET_MM_MAP, "no restore: the layout of a process cannot be set"),
        ("rseq configuration by ptrace", C.LM_CAN_RSEQ, "programs with a C library that registers rseq cannot be restored"),
        ("suspend seccomp by ptrace", C.LM_CAN_SUSPEND_SECCOMP, "programs with a seccomp filter cannot be dumped"),
        ("soft-dirty bits", C.LM_CAN_SOFT_DIRTY, "nothing: lamina does not track by them yet"),
    ]  # fmt: skip


def _effective() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("CapEff:\t")[2].split()[0], 16)


def capabilities() -> list[Capability]:
    """Each need: whether it is met here, and if not, what that costs.

    Raises:
        NativeError: there is not even a process or a page left to try it with.
    """
    tracker = probe()
    costs = f"every dump is a full one: {tracker.reason}"
    found = [Capability(f"tracking by {tracker.name}", tracker.available, "" if tracker.available else costs)]
    err = new_error()
    bits = check(C.lm_probe(err), err)
    found += [Capability(name, bool(bits & bit), "" if bits & bit else cost) for name, bit, cost in _native()]
    effective = _effective()
    for name, (bit, cost) in _RIGHTS.items():
        has = bool(effective >> bit & 1)
        if " or " in name:
            has = has or bool(effective >> 21 & 1)
        elif " and " in name:
            has = has and bool(effective >> 6 & 1)
        found.append(Capability(name, has, "" if has else cost))
    return found

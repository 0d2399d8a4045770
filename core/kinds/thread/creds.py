"""Credentials of a thread: /proc/PID/task/TID/status ↔ `creds_entry`. The kernel keeps them per thread, and so do images."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.errors import Blocker
from lamina.core.image.schema import creds_entry, thread_core_entry

PR_CAPBSET_DROP, PR_GET_SECUREBITS, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 24, 27, 28, 38
PR_CAP_AMBIENT, AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 47, 2, 4
SECBIT_NO_SETUID_FIXUP: Final = 1 << 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_KEEP: Final = 0xFFFF_FFFF  # -1 of uid_t: setfsuid(2) answers the present one
CAP_NAMES: Final = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
    "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
    "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
    "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""Index = capability number (capabilities(7))."""
CAP_SETGID, CAP_SETUID, CAP_SETPCAP = 6, 7, 8
_IDS: Final = ("uid", "euid", "suid", "fsuid", "gid", "egid", "sgid", "fsgid")
_CAPS: Final = ("inh", "prm", "eff", "bnd", "amb")


def _words(mask: int) -> list[int]:
    return [mask & 0xFFFF_FFFF, mask >> 32]


def _mask(words: Iterable[int]) -> int:
    return sum(word << 32 * at for at, word in enumerate(words))


def caps(entry: creds_entry) -> dict[str, int]:
    """The five capability sets as masks: inh, prm, eff, bnd, amb."""
    return {name: _mask(getattr(entry, f"cap_{name}")) for name in _CAPS}


def cap_names(mask: int) -> str:
    """ "CAP_SETUID, CAP_KILL", for messages."""
    return ", ".join(f"CAP_{CAP_NAMES[n]}" if n < len(CAP_NAMES) else f"capability {n}" for n in range(64) if mask >> n & 1)


@dataclass(frozen=True)
class Question:
    """The call that asks for the securebits; `answer` after the run."""

    call: Call

    def answer(self) -> int:
        """SECBIT_* bits."""
        return self.call.result


def ask(calls: CallList) -> Question:
    """Append the call, to be run in the thread itself. All else is in its status."""
    return Question(calls.add("prctl", PR_GET_SECUREBITS, 0, 0, 0, 0, about="read the securebits"))


def save(status: Mapping[str, str], secbits: int = 0) -> creds_entry:
    """From /proc/PID/task/TID/status."""
    entry = creds_entry(secbits=secbits, groups=[int(word) for word in status["Groups"].split()])
    for at, name in enumerate(("uid", "euid", "suid", "fsuid")):
        setattr(entry, name, int(status["Uid"].split()[at]))
        setattr(entry, name.replace("uid", "gid"), int(status["Gid"].split()[at]))
    for name in _CAPS:
        getattr(entry, f"cap_{name}").extend(_words(int(status[f"Cap{name.capitalize()}"], 16)))
    entry.no_new_privs = int(status["NoNewPrivs"])
    return entry


def blockers(wanted: creds_entry, ours: creds_entry) -> list[Blocker]:
    """What a process that starts with *ours* cannot become: more capable, or another user without the right to change."""
    found = []
    have, want = caps(ours), caps(wanted)
    for name, text, source in (
        ("prm", "permitted", have["prm"]),
        ("bnd", "bounding", have["bnd"]),
        ("inh", "inheritable", have["inh"] | have["bnd"]),
    ):
        if lacking := want[name] & ~source:
            why = f"{cap_names(lacking)} in its {text} set, and lamina has no right to give that"
            found.append(Blocker("credentials", why, "run lamina with the capabilities of the dumped program"))
    needs = 0
    if any(getattr(wanted, name) != getattr(ours, name) for name in _IDS[:4]):
        needs |= 1 << CAP_SETUID
    if any(getattr(wanted, name) != getattr(ours, name) for name in _IDS[4:]) or set(wanted.groups) != set(ours.groups):
        needs |= 1 << CAP_SETGID
    if want["bnd"] != have["bnd"] or wanted.secbits != ours.secbits:
        needs |= 1 << CAP_SETPCAP
    if needs & ~have["eff"]:
        found.append(Blocker("credentials", f"{cap_names(needs & ~have['eff'])} is needed to give it its own", "run lamina as root"))
    return found


def _set_ids(entry: creds_entry, calls: CallList) -> None:
    groups = calls.data(struct.pack(f"<{len(entry.groups)}I", *entry.groups))
    calls.add("setgroups", len(entry.groups), groups, expect=0, about="set the supplementary groups")
    calls.add("setresgid", entry.gid, entry.egid, entry.sgid, expect=0, about=f"set the group ids to {entry.gid}")
    calls.add("setresuid", entry.uid, entry.euid, entry.suid, expect=0, about=f"set the user ids to {entry.uid}")
    # They answer the old id whether they did it or not: asking again proves it.
    for name, value in (("setfsgid", entry.fsgid), ("setfsuid", entry.fsuid)):
        calls.add(name, value, any_result=True)
        calls.add(name, _KEEP, expect=value, about=f"{name} {value}")


def _capset(calls: CallList, inheritable: int, permitted: int, effective: int) -> None:
    header = calls.data(struct.pack("<II", _CAPABILITY_VERSION_3, 0))
    low_high = [struct.pack("<III", *(mask >> shift & 0xFFFF_FFFF for mask in (effective, permitted, inheritable))) for shift in (0, 32)]
    calls.add("capset", header, calls.data(b"".join(low_high)), expect=0, about="set the capabilities")


def _set_caps(entry: creds_entry, ours: creds_entry, calls: CallList) -> None:
    want, have = caps(entry), caps(ours)
    # Inheritable first: the rest follows from it and from what we still hold. Ours go last of all.
    _capset(calls, want["inh"], have["prm"], have["prm"])
    for number in range(64):
        if (have["bnd"] & ~want["bnd"]) >> number & 1:
            calls.add("prctl", PR_CAPBSET_DROP, number, 0, 0, 0, expect=0, about=f"drop {cap_names(1 << number)}")
    calls.add("prctl", PR_CAP_AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0, expect=0, about="clear the ambient set")
    for number in range(64):
        if want["amb"] >> number & 1:
            calls.add("prctl", PR_CAP_AMBIENT, AMBIENT_RAISE, number, 0, 0, expect=0, about=f"raise {cap_names(1 << number)}")


def rebuild(core: thread_core_entry, ours: creds_entry, calls: CallList) -> None:
    """Step 11, in each thread itself, the last calls inside but two (`pdeath.rebuild` and `mm.rebuild_dumpable`, which this resets):
    after it the thread may have no right to do anything else. *ours* is what it has now: `save(read_status(pid, tid))` of the new thread.
    """
    if not core.HasField("creds"):
        return
    entry = core.creds
    ids_differ = set(entry.groups) != set(ours.groups) or any(getattr(entry, name) != getattr(ours, name) for name in _IDS)
    if ids_differ or caps(entry) != caps(ours) or entry.secbits != ours.secbits:
        if ids_differ:
            calls.add("prctl", PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0, expect=0, about="keep capabilities while ids change")
            _set_ids(entry, calls)
        _set_caps(entry, ours, calls)
        calls.add("prctl", PR_SET_SECUREBITS, entry.secbits, 0, 0, 0, expect=0, about="set the securebits")
        want = caps(entry)
        _capset(calls, want["inh"], want["prm"], want["eff"])
    if entry.no_new_privs:
        calls.add("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, expect=0, about="set no_new_privs")

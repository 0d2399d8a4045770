"""A frozen tree as a value: everything the freeze captured, ready to be turned into images after the thaw.

`kinds/` read these and never the live process: what is here was taken while nothing ran.
"""

from dataclasses import dataclass, field
from typing import Any

from lamina.core.attach.procfs import Area, Stat


@dataclass(frozen=True)
class FrozenThread:
    """One thread at the moment of the freeze.

    Attributes:
        tid: its id.
        comm: its name, at most 15 bytes.
        regs: register name (as in `struct user_regs_struct`) → value; `rip` and `rax` are already those to resume with.
        xstate: NT_X86_XSTATE, the standard (non-compacted) XSAVE layout.
        sigmask: blocked signals, bit 0 = signal 1.
        rseq: (address, size, signature) or None if not registered.
        robust: (head address, length) of the robust futex list.
        altstack: (sp, size, flags) as sigaltstack(2) gives it.
        clear_tid: the address PR_GET_TID_ADDRESS gives.
        signals: queued private signals, raw siginfo (128 bytes each), oldest first.
        status: /proc/PID/task/TID/status.
        sched: (policy, static priority, nice).
        pdeath_signal: PR_GET_PDEATHSIG.
        securebits: PR_GET_SECUREBITS.
        supplement, looked_at: settings that images have no field for, all but defaults, as it told and as /proc shows.
    """

    tid: int
    comm: str
    regs: dict[str, int]
    xstate: bytes
    sigmask: int
    rseq: tuple[int, int, int] | None
    robust: tuple[int, int]
    altstack: tuple[int, int, int]
    clear_tid: int
    signals: tuple[bytes, ...]
    status: dict[str, str]
    sched: tuple[int, int, int]
    pdeath_signal: int
    securebits: int = 0
    supplement: dict[str, int | str] = field(default_factory=dict)
    looked_at: dict[str, int | str] = field(default_factory=dict)


@dataclass(frozen=True)
class FrozenTask:
    """One process of the tree at the moment of the freeze.

    Attributes:
        pid, stat, status: who it is; `stat.state` is "Z" for a zombie, and then nothing below `status` is filled.
        areas: its mappings without our scratch range, ascending.
        guards: runs of guard pages inside them, as (start, end).
        threads: the leader first.
        sigactions: signal number → raw `struct kernel_sigaction` (32 bytes: handler, flags, restorer, mask), 1..64 without 9 and 19.
        signals: queued shared signals, raw siginfo.
        itimers: real, virtual, prof as (interval s, interval µs, value s, value µs).
        posix_timers: records of /proc/PID/timers with timer_gettime(2) values; see kinds/posix_timers.py.
        brk: the current break.
        auxv: raw /proc/PID/auxv.
        exe, cwd, root: where the links of /proc/PID point.
        umask: file mode creation mask.
        limits: RLIMIT number → (soft, hard); RLIM_INFINITY is 2**64-1.
        personality: /proc/PID/personality.
        dumpable: PR_GET_DUMPABLE; child_subreaper: PR_GET_CHILD_SUBREAPER; thp_disabled: PR_GET_THP_DISABLE.
        membarrier: MEMBARRIER_CMD_REGISTER_* bits it has registered for.
        oom_score_adj, loginuid: as in /proc.
        supplement, looked_at: settings that images have no field for; area_notes: those of its memory, address → values.
        descriptors: what objects/capture.py captured (opaque here).
    """

    pid: int
    stat: Stat
    status: dict[str, str]
    areas: tuple[Area, ...] = ()
    guards: tuple[tuple[int, int], ...] = ()
    threads: tuple[FrozenThread, ...] = ()
    sigactions: dict[int, bytes] = field(default_factory=dict)
    signals: tuple[bytes, ...] = ()
    itimers: tuple[tuple[int, int, int, int], ...] = ()
    posix_timers: tuple[Any, ...] = ()
    brk: int = 0
    auxv: bytes = b""
    exe: str = ""
    cwd: str = ""
    root: str = ""
    umask: int = 0
    limits: dict[int, tuple[int, int]] = field(default_factory=dict)
    personality: int = 0
    dumpable: int = 1
    child_subreaper: int = 0
    thp_disabled: int = 0
    membarrier: int = 0
    oom_score_adj: int = 0
    loginuid: int = 0
    supplement: dict[str, int | str] = field(default_factory=dict)
    looked_at: dict[str, int | str] = field(default_factory=dict)
    area_notes: dict[int, dict[str, int | str]] = field(default_factory=dict)
    descriptors: Any = None

    @property
    def is_zombie(self) -> bool:
        """Exited, not yet reaped by its parent."""
        return self.stat.state == "Z"

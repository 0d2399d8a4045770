"""What a security module or the processor forbids a thread: seccomp filters, shadow stacks, profiles. No restore puts one back."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from lamina.core.errors import Blocker
from lamina.core.objects.task_kind import Machine, TaskKind, TaskLook, ThreadKind, ThreadLook, ThreadRecord


class Seccomp(ThreadKind[None]):
    """seccomp(2)."""

    name = "seccomp"

    def blockers(self, look: ThreadLook) -> Iterable[Blocker]:
        """Its status tells."""
        if mode := look.number(b"Seccomp"):
            yield look.task.blocker("runs under seccomp: not supported yet" if mode == 1 else "has a seccomp filter: not supported yet")

    def unsupported(self, record: ThreadRecord) -> Iterator[str]:
        """criu can."""
        if record.core.thread_core.seccomp_mode:
            yield "it has a seccomp filter, which is not supported"


class ShadowStack(ThreadKind[None]):
    """Shadow stacks of x86-64 (Documentation/arch/x86/shstk.rst)."""

    name = "shadow stack"

    def blockers(self, look: ThreadLook) -> Iterable[Blocker]:
        """Its status tells."""
        features = look.status.partition(b"\nx86_Thread_features:\t")[2].split(b"\n", 1)[0]
        if b"shstk" in features:
            yield look.task.blocker("uses shadow stacks: not supported yet", "start it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off")

    def unsupported(self, record: ThreadRecord) -> Iterator[str]:
        """criu writes the field of every thread; 0: none."""
        if record.core.thread_info.fpregs.xsave.cet.cet:
            yield "it has a shadow stack, which is not supported"


def own_label() -> str:
    """The security label of this process, as `creds_entry.lsm_profile` has it; "" without such a module."""
    try:
        text = Path("/proc/self/attr/current").read_text(errors="replace")
    except OSError:
        return ""
    # AppArmor adds the mode, as in "profile (enforce)".
    return text.strip("\0\n ").partition(" (")[0]


class SecurityProfile(ThreadKind[None]):
    """A security profile (AppArmor, SELinux) other than ours: what is restored would run under ours."""

    name = "security profile"

    def plan(self, record: ThreadRecord, machine: Machine) -> Iterable[Blocker]:
        """Only this machine knows which one we run under. criu records it of every task where such a module is active, and leaves out
        AppArmor's "unconfined".
        """
        creds = record.core.thread_core.creds
        labels = {label for label in (creds.lsm_profile, creds.lsm_sockcreate) if label} - {"unconfined"}
        for label in sorted(labels - {own_label()} if labels else ()):
            yield Blocker("security", f"it ran under the profile {label}, which cannot be set", "restore it with criu")


def set_attributes(attr: Path) -> list[str]:
    """What a security module keeps for the next exec, file, key or socket of a task, as in "exec"; *attr*: its directory /proc/PID/attr."""
    found = []
    for name in ("exec", "fscreate", "keycreate", "sockcreate"):
        with suppress(OSError):  # no such security module
            if (attr / name).read_bytes().strip(b"\0\n "):
                found.append(name)
    return found


class ProfileOfTask(TaskKind[None]):
    """What a dump sees of a profile: that of the process."""

    name = "security profile of a process"

    def blockers(self, look: TaskLook) -> Iterable[Blocker]:
        """One that differs from lamina's, or is set for what comes."""
        if names := set_attributes(Path(f"/proc/{look.pid}/attr")):
            yield look.blocker(f"has set a security profile for its next {', '.join(names)}: not supported yet")
            return
        try:
            profiles = [Path(f"/proc/{who}/attr/current").read_bytes().strip(b"\0\n") for who in ("self", look.pid)]
        except OSError:
            return  # no such security module
        if profiles[0] != profiles[1]:
            why = f"runs under the security profile {profiles[1].decode(errors='replace')}, and lamina does not: not supported yet"
            yield look.blocker(why, "run lamina under the same profile")

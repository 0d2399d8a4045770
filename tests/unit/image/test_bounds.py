"""Images of any length: what is told of them is short, and the work is proportional to them."""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from lamina.core.dirty.runs import PAGE
from lamina.core.errors import LONGEST_LINE, Blocker, RefusedError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.layer import Layer
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.restore.plan import refuse_damaged
from lamina.core.verify import verify_layer
from tests.unit.image.layers import BASE, Spec, core, creds, fown, make, mm, reg

MANY = 6_000
TASKS = 50_000
CPU_S = 20.0  # some ms each at the most; quadratic work would take minutes


def check(layer: Path) -> list[str]:
    """What verify and restore say of it, in bounded time and length."""
    (layer / SIDECAR).unlink(missing_ok=True)
    began = time.process_time()
    (report,) = verify_layer(Layer(layer), contents=False).reports
    lines = [str(it) for it in report.findings]
    with pytest.raises(RefusedError) as refused:
        refuse_damaged(Layer(layer))
    assert time.process_time() - began < CPU_S
    assert 0 < len(lines) <= 201
    assert all(len(line) <= 10 * LONGEST_LINE for line in (*lines, report.why)) and len(str(refused.value)) <= LONGEST_LINE
    return lines


def tasks(deep: bool) -> list[schema.pstree_entry]:
    return [
        schema.pstree_entry(pid=pid, ppid=pid - 1 if deep and pid > 7 else 7 if pid > 7 else 0, pgid=7, sid=7, threads=[pid])
        for pid in range(7, TASKS)
    ]


def signals() -> schema.core_entry:
    entry = core(7, True)
    entry.thread_core.signals_p.signals.extend([schema.siginfo_entry(siginfo=b"x")] * MANY)
    return entry


def timers() -> schema.core_entry:
    entry = core(7, True)
    idle = schema.itimer_entry(isec=0, iusec=0, vsec=0, vusec=0)
    times = dict.fromkeys(("isec", "insec", "vsec", "vnsec", "overrun", "sival_ptr", "it_sigev_notify"), 0)
    posix = [schema.posix_timer_entry(it_id=at, clock_id=2**32 - 3, si_signo=99, **times) for at in range(MANY)]
    entry.tc.timers.CopyFrom(schema.task_timers_entry(real=idle, virt=idle, prof=idle, posix=posix))
    return entry


def groups() -> schema.core_entry:
    entry = core(7, True)
    entry.thread_core.creds.CopyFrom(creds())
    entry.thread_core.creds.groups.extend(range(70_000))
    return entry


def areas(**values: Any) -> schema.mm_entry:
    entry = mm()
    found = []
    for at in range(MANY):
        usual = {"start": BASE + 2 * at * PAGE, "end": BASE + (2 * at + 1) * PAGE, "flags": 0x22, "status": 0x201, "prot": 3}
        found.append(schema.vma_entry(pgoff=0, shmid=at + 100, fd=-1, **{**usual, **values}))
    entry.ClearField("vmas")
    entry.vmas.extend(found)
    return entry


def watches() -> list[schema.file_entry]:
    record = schema.eventpoll_file_entry(id=9, flags=2, fown=fown())
    for fd in range(MANY):
        record.tfd.append(schema.eventpoll_tfd_entry(id=9, tfd=fd // 2, events=1, data=0))
    return [reg(1, b"usr/bin/victim"), reg(2, b"tmp"), schema.file_entry(type=schema.fd_types.EVENTPOLL, id=9, epfd=record)]


def descriptors() -> list[schema.fdinfo_entry]:
    return [schema.fdinfo_entry(id=77, flags=0, type=schema.fd_types.REG, fd=fd) for fd in range(MANY)]


@pytest.mark.parametrize(
    ("file", "kind", "records"),
    [
        ("pstree.img", "pstree", lambda: tasks(deep=False)),
        ("pstree.img", "pstree", lambda: tasks(deep=True)),
        ("core-7.img", "core", lambda: [signals()]),
        ("core-7.img", "core", lambda: [timers()]),
        ("core-7.img", "core", lambda: [groups()]),
        ("mm-7.img", "mm", lambda: [areas(prot=99)]),
        ("mm-7.img", "mm", lambda: [areas(status=fmt.VmaStatus.ANON_SHARED, flags=0x21)]),
        ("mm-7.img", "mm", lambda: [areas(status=fmt.VmaStatus.FILE_PRIVATE, flags=2)]),
        ("files.img", "files", watches),
        ("files.img", "files", lambda: [reg(1, b"\0"), reg(2, b"x" * 5000), *(reg(at, b"\x1b" * 5000) for at in range(3, 5000))]),
        ("fdinfo-1.img", "fdinfo", descriptors),
    ],
)  # fmt: skip
def test_many_wrong_records(file: str, kind: str, records: Callable[[], Iterable[Any]], tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1}}))
    (tmp_path / "1" / file).write_bytes(fmt.encode_image(kind, records()))
    check(tmp_path / "1")


def test_many_tasks_that_have_nothing(tmp_path: Path) -> None:
    """As many maps as tasks, too: they are looked up by name for each."""
    make(tmp_path, "1", Spec({7: {1}}))
    (tmp_path / "1" / "pstree.img").write_bytes(fmt.encode_image("pstree", tasks(deep=False)))
    whole = (tmp_path / "1" / "pagemap-7.img").read_bytes()
    for pid in range(8, 300):
        (tmp_path / "1" / f"pagemap-{pid}.img").write_bytes(whole)
    assert any("more" in line for line in check(tmp_path / "1"))


def test_a_line_of_many_blockers_says_how_many_there_are() -> None:
    error = RefusedError("cannot dump", "process 7", blockers=tuple(Blocker(f"fd {at}", "x" * at) for at in range(5000)))
    line = str(error)
    assert len(line) <= LONGEST_LINE and line.startswith("cannot dump process 7: fd 0:; fd 1: x; ") and line.endswith(" more")
    assert len(str(RefusedError("cannot dump", "y" * 10_000, blockers=(Blocker("fd 1", "\x1b" * 10_000),)))) <= 4 * LONGEST_LINE

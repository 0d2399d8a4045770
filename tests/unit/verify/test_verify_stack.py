"""A whole stack: each layer is checked once, and each has its verdict."""

import os
import resource
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import Cancelled
from lamina.core.events import CancelToken, Event, Progress
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import TRASH
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.stack import Stack
from lamina.core.image.sums import sum_bytes
from lamina.core.rewrite.dedup import apply_dedup, plan_dedup
from lamina.core.verify import Report, State, check_chain, verify_layer, verify_stack
from lamina.core.verify.findings import Severity
from lamina.core.verify.page_files import check_memory
from tests.corpus import unpack
from tests.made_stack import Shape, make_stack
from tests.unit.image.layers import BASE, Spec, core, make, mm, runs
from tests.unit.image.stacks import new_stack


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(tmp_path, "2", Spec({7: {1, 5}}, {7: {2, 3}}), "1", tag=2)
    make(tmp_path, "3", Spec({7: {5}}, {7: {1, 2}}), "2", tag=3)
    return tmp_path


def verdicts(path: Path, contents: bool = True) -> dict[str, Report]:
    return {report.name: report for report in verify_stack(Stack.open(path), contents).reports}


def states(path: Path) -> dict[str, State]:
    return {name: report.state for name, report in verdicts(path).items()}


def said(report: Report) -> list[tuple[str, str, str]]:
    return [(str(it.severity), it.file, it.why) for it in report.findings]


def test_each_layer_is_checked_once(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []

    def counted(layer: Layer, *rest: Any) -> Any:
        looked.append(layer.name)
        return check_memory(layer, *rest)

    monkeypatch.setattr("lamina.core.verify.chain.check_memory", counted)
    found = verify_stack(Stack.open(stack))
    assert looked == ["1", "2", "3"]
    assert found.whole and found.bytes_read == 6 * 4096
    assert all(report.state is State.RESTORABLE and not report.findings for report in found.reports)


def test_maps_are_decoded_once_for_all_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_stack(tmp_path, Shape(layers=30, logical_bytes=1 << 24, runs=3000))
    decoded: list[str] = []
    original = PageMap.decode.__func__  # type: ignore[attr-defined]

    def counted(cls: type[PageMap], data: bytes, name: str = "pagemap") -> PageMap:
        decoded.append(name)
        found: PageMap = original(cls, data, name)
        return found

    monkeypatch.setattr(PageMap, "decode", classmethod(counted))
    assert verify_stack(Stack.open(tmp_path), contents=False).whole
    assert len(decoded) == len(set(decoded)) == 30


def test_a_big_stack_is_checked_within_a_second() -> None:
    with new_stack() as path:
        make_stack(path, Shape())
        taken = []
        for _ in range(2):
            begin = resource.getrusage(resource.RUSAGE_SELF)
            assert verify_stack(Stack.open(path), contents=False).whole
            end = resource.getrusage(resource.RUSAGE_SELF)
            taken.append(end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime)
        assert min(taken) < 1.0


def test_damage_of_an_ancestor_is_everybodys_and_named(stack: Path) -> None:
    os.truncate(stack / "1" / "pages-1.img", 100)
    why = "pages-1.img: shorter than its map says: 100 bytes, not 12288 (and 1 more)"
    assert {name: report.why for name, report in verdicts(stack).items()} == {
        "1": why, "2": f"ancestor 1: {why}", "3": f"ancestor 1: {why}",
    }  # fmt: skip


def test_damage_of_tasks_is_the_layers_own(stack: Path) -> None:
    (stack / "2" / "mm-7.img").unlink()
    assert states(stack) == {"1": State.RESTORABLE, "2": State.BROKEN, "3": State.RESTORABLE}


def test_what_dedup_took_is_missed_only_by_who_needs_it(stack: Path) -> None:
    apply_dedup(plan_dedup(Layer(stack / "3")))
    assert states(stack) == {"1": State.RESTORABLE, "2": State.BROKEN, "3": State.RESTORABLE}
    assert verdicts(stack)["2"].why == f"pagemap-7.img: 1 of its pages was punched by 3 (the first at {BASE + 5 * 4096:#x})"


def test_a_mark_alone_is_believed(stack: Path) -> None:
    layer = Layer(stack / "2")
    assert layer.sidecar
    layer.sidecar.not_restorable("squashed away").store(layer.directory)
    assert verdicts(stack)["2"].why == "lamina.json: it says that the layer cannot be restored: squashed away"
    assert states(stack)["3"] is State.RESTORABLE


def test_pre_dumps_and_the_trash_do_not_count_as_broken(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2}}), pre_dump=True, tag=1)
    make(tmp_path, "2", Spec({7: {1}}, {7: {2}}), "1", tag=2)
    make(tmp_path, f"{TRASH}3", Spec({7: {1}}), tag=3)
    (tmp_path / f"{TRASH}3" / "files.img").unlink()
    make(tmp_path, f"{TRASH}4", Spec({7: {1}}), tag=3)
    (tmp_path / f"{TRASH}4" / "inventory.img").unlink()
    found = verify_stack(Stack.open(tmp_path))
    assert found.whole
    assert [(it.name.removeprefix(TRASH), it.state, it.trashed) for it in found.reports] == [
        ("1", State.MEMORY_ONLY, False), ("2", State.RESTORABLE, False), ("3", State.BROKEN, True), ("4", State.BROKEN, True),
    ]  # fmt: skip


def test_what_is_no_layer_any_more_is_listed(stack: Path) -> None:
    (stack / "3" / "inventory.img").unlink()
    (stack / "empty").mkdir()
    (stack / ".half").mkdir()
    shutil.copy(stack / "1" / "files.img", stack / ".half")
    found = verdicts(stack)
    assert list(found) == ["1", "2", "3"]
    assert (found["3"].state, found["3"].why) == (State.BROKEN, "inventory.img: missing")


def test_links_that_form_a_circle(stack: Path) -> None:
    (stack / "1" / "parent").symlink_to("../3")
    found = verdicts(stack)
    assert {report.state for report in found.values()} == {State.BROKEN}
    assert all("its parents form a circle at" in report.why for report in found.values())
    assert all("circle" in str(check_chain(Layer(stack / name))[0]) for name in "123")


# -- what is only odd ----------------------------------------------------------------------------------------------------------------


def test_files_that_nobody_wrote_or_needs(stack: Path) -> None:
    shutil.copy(stack / "1" / "core-7.img", stack / "1" / "core-99.img")
    (stack / "1" / "seccomp.img").write_bytes(fmt.IMAGES["seccomp"].head_bytes + bytes(4))
    (stack / "1" / "pages-9.img").write_bytes(b"x")
    (stack / "1" / "what.img").write_bytes(b"x")
    (stack / "1" / "restore.log").write_bytes(b"x")
    report = verdicts(stack, contents=False)["1"]
    assert report.state is State.RESTORABLE
    assert said(report) == [
        ("suspicious", "core-99.img", "belongs to no task of pstree.img"),
        ("suspicious", "pages-9.img", "no map names it"),
        ("notice", "what.img", "not a type of image that is known"),
        *(
            ("notice", name, "was not written by the dump of this layer")
            for name in ("core-99.img", "pages-9.img", "seccomp.img", "what.img")
        ),
    ]


def test_statistics_are_not_needed(stack: Path) -> None:
    (stack / "1" / "stats-dump").write_bytes(b"not one")
    report = verdicts(stack)["1"]
    assert report.state is State.RESTORABLE
    assert [(it.file, it.severity) for it in report.findings if it.severity > Severity.NOTICE] == [("stats-dump", Severity.SUSPICIOUS)]


def test_any_other_image_that_cannot_be_read_stops(stack: Path) -> None:
    (stack / "1" / "timens-0.img").write_bytes(b"\0\0\0\0\0\0\0\0")
    assert "timens-0.img: its magic is" in verdicts(stack)["1"].why


def test_names_in_a_sidecar_do_not_lead_outside(stack: Path, tmp_path: Path) -> None:
    outside = tmp_path / "pages-outside"
    outside.write_bytes(b"secret")
    layer = Layer(stack / "1")
    assert layer.sidecar
    sums = {**layer.sidecar.checksums, "../pages-outside": sum_bytes(b"secret"), "pages-/../../pages-outside": sum_bytes(b"secret")}
    replace(layer.sidecar, checksums=sums).store(layer.directory)
    found = [(it.file, it.why) for it in check_chain(Layer(stack / "1"), contents=True)]
    assert sorted(found) == [("../pages-outside", "missing"), ("pages-/../../pages-outside", "missing")]


# -- memory --------------------------------------------------------------------------------------------------------------------------


def test_two_maps_of_one_pages_file(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2}, 8: {3, 4}}))
    (tmp_path / "1" / SIDECAR).unlink()
    (tmp_path / "1" / "pagemap-8.img").write_bytes(PageMap.of(1, runs({3, 4}), runs(set())).encode())
    assert [str(it) for it in check_chain(Layer(tmp_path / "1"))] == [
        f"{tmp_path}/1/pagemap-8.img: names pages-1.img, which belongs to pagemap-7.img"
    ]


def test_shared_memory_that_is_not_there(stack: Path) -> None:
    entry = mm()
    entry.vmas[0].status = fmt.VmaStatus.ANON_SHARED | 1
    entry.vmas[0].shmid, entry.vmas[0].flags = 12, 0x21
    (stack / "1" / "mm-7.img").write_bytes(fmt.encode_image("mm", [entry]))
    (stack / "1" / SIDECAR).unlink()
    assert verdicts(stack)["1"].why == f"pagemap-shmem-12.img: missing; it is the memory of the area at {BASE:#x} of 7"


def test_records_that_are_not_of_their_type_and_terminals_without_settings(stack: Path) -> None:
    (stack / "1" / SIDECAR).unlink()
    entries = fmt.decode(stack / "1" / "files.img", fmt.FILES)
    wrong = schema.file_entry(type=schema.fd_types.PIPE, id=3)
    fown = schema.fown_entry(uid=0, euid=0, signum=0, pid_type=0, pid=0)
    tty = schema.file_entry(type=schema.fd_types.TTY, id=4, tty=schema.tty_file_entry(id=4, tty_info_id=9, flags=2, fown=fown))
    (stack / "1" / "files.img").write_bytes(fmt.encode_image("files", [*entries, wrong, tty]))
    assert [(it.file, it.why) for it in check_chain(Layer(stack / "1"))] == [
        ("files.img", "its entry 3 has no record of its type PIPE"),
        ("tty-info.img", "has no entry 9 for the terminal 4 of files.img"),
    ]


def test_a_thread_without_its_core_and_a_leader_without_one(stack: Path) -> None:
    (stack / "1" / SIDECAR).unlink()
    (stack / "1" / "core-507.img").unlink()
    assert [str(it) for it in check_chain(Layer(stack / "1"))] == [f"{stack}/1/core-507.img: missing"]
    (stack / "1" / "core-7.img").write_bytes(fmt.encode_image("core", [core(7, False)]))
    assert [it.file for it in check_chain(Layer(stack / "1"))] == ["core-7.img", "core-507.img"]


# -- contents ------------------------------------------------------------------------------------------------------------------------


def test_progress_and_cancel(stack: Path) -> None:
    seen: list[Event] = []
    verify_layer(Layer(stack / "3"), listener=seen.append)
    last = seen[-1]
    assert isinstance(last, Progress)
    assert (last.phase, last.done, last.total, last.done_bytes) == ("verify", 6, 6, 6 * 4096)
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled, match="verify of"):
        verify_layer(Layer(stack / "3"), cancel=cancel)


def test_pages_without_checksums_are_read_and_that_is_said(stack: Path) -> None:
    (stack / "1" / SIDECAR).unlink()
    report = verdicts(stack)["1"]
    assert report.state is State.RESTORABLE
    assert [(it.severity, it.file) for it in report.findings] == [(Severity.NOTICE, "pages-1.img")]
    assert not verdicts(stack, contents=False)["1"].findings


# -- CRIU's own ----------------------------------------------------------------------------------------------------------------------


def test_sets_of_criu_are_whole(tmp_path: Path) -> None:
    assert states(unpack("criu-3.17.1/three", tmp_path)) == dict.fromkeys("123", State.RESTORABLE)
    found = states(unpack("criu-3.17.1/kinds", tmp_path))
    assert found == {"pre": State.MEMORY_ONLY, "full": State.UNSUPPORTED, "last": State.UNSUPPORTED}


def test_what_criu_dedup_punched_is_said_of_those_that_need_it(tmp_path: Path) -> None:
    found = verdicts(unpack("criu-3.17.1/deduped", tmp_path))
    assert {name: report.state for name, report in found.items()} == {
        "pre": State.BROKEN, "full": State.BROKEN, "last": State.UNSUPPORTED,
    }  # fmt: skip
    for name in ("pre", "full"):
        assert "punched by another tool" in found[name].why and "pagemap-" in found[name].why


def test_a_zombie_as_criu_writes_one(tmp_path: Path) -> None:
    """With one thread, whose id is 0, or in criu 4.1.1 what was in memory there."""
    make(tmp_path, "1", Spec({7: {1}}))
    (tmp_path / "1" / SIDECAR).unlink()
    ended = schema.core_entry(mtype=schema.core_entry.X86_64)
    ended.tc.CopyFrom(schema.task_core_entry(task_state=2, exit_code=7 << 8, personality=0, flags=0, blk_sigset=0, comm=b"gone"))
    (tmp_path / "1" / "core-9.img").write_bytes(fmt.encode_image("core", [ended]))
    living = fmt.decode(tmp_path / "1" / "pstree.img", fmt.PSTREE)
    for written in (0, 3305876144):
        zombie = schema.pstree_entry(pid=9, ppid=7, pgid=7, sid=7, threads=[written])
        (tmp_path / "1" / "pstree.img").write_bytes(fmt.encode_image("pstree", [*living, zombie]))
        assert check_chain(Layer(tmp_path / "1"), ours=True) == []
        assert list(Layer(tmp_path / "1").pstree[-1].threads) == [9]
    ended.tc.task_state = 1
    (tmp_path / "1" / "core-9.img").write_bytes(fmt.encode_image("core", [ended]))
    assert "9 is not a pid" in str(check_chain(Layer(tmp_path / "1"))[0])

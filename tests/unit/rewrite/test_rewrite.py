"""A rewritten layer: the same memory, other owners; nothing changes when it cannot be done."""

import errno
import fcntl
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import BusyError, Cancelled, ImageError
from lamina.core.events import CancelToken, Event, Progress
from lamina.core.image import renames
from lamina.core.image.format import PageFlag
from lamina.core.image.holes import file_holes
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import REBUILT, sweep_stack
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sums import sum_file
from lamina.core.rewrite import new_directory
from lamina.core.rewrite.copying import Pieces, first_difference
from lamina.core.rewrite.one_layer import rewrite
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, make, runs
from tests.unit.rewrite.memories import leftovers, memories, memory_of


def three(stack: Path) -> tuple[Layer, Layer, Layer]:
    """A stack of three: 3 has page 4 itself, 3 and 5 from 2, 1 and 2 from 1; task 8 is the same throughout."""
    one = make(stack, "1", Spec({7: {1, 2, 3, 4}, 8: {9}}), tag=1)
    two = make(stack, "2", Spec({7: {3, 5}}, {7: {1, 2, 4}, 8: {9}}), "1", tag=2)
    top = make(stack, "3", Spec({7: {4}}, {7: {1, 2, 3, 5}, 8: {9}}), "2", tag=3)
    return one, two, top


def snapshot(stack: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(stack)): (path.lstat().st_ino, path.read_bytes())
        for path in sorted(stack.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def test_takes_what_it_resolved_in_its_parent(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    before = memories(tmp_path)
    made = rewrite(top, one, {7: runs({3, 4, 5})})
    assert memories(tmp_path) == before
    assert made.parent_link == "../1"
    assert made.pagemap(7).present == runs({3, 4, 5}) and made.pagemap(7).parent == runs({1, 2})
    assert check_chain(made, contents=True) == []
    assert leftovers(tmp_path) == []
    assert made.file("core-7.img").stat().st_nlink == 1


def test_a_full_layer_and_one_that_owns_nothing(tmp_path: Path) -> None:
    _, _two, top = three(tmp_path)
    before = memory_of(top)
    made = rewrite(top, None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    assert made.parent_link is None and memory_of(made) == before and check_chain(made, contents=True) == []
    three(tmp_path / "other")
    _two, top = Layer(tmp_path / "other/2"), Layer(tmp_path / "other/3")
    same = make(tmp_path / "other", "4", Spec({7: {4}}, {7: {1, 2, 3, 5}, 8: {9}}), "3", tag=3)
    before = memory_of(same)
    made = rewrite(same, top, {7: PageRuns.empty()})
    assert made.pagemap(7).present == PageRuns.empty() and memory_of(made) == before
    assert check_chain(made, contents=True) == []


def test_what_is_not_the_same_is_refused(tmp_path: Path) -> None:
    _, two, top = three(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(ImageError, match="a page of 7 came out different"):
        rewrite(top, two, {7: PageRuns.empty()})  # page 4 of layer 1 is another
    with pytest.raises(ImageError, match="not be whole|other pages"):
        rewrite(top, None, {})
    with pytest.raises(ImageError, match="1 pages of 7 are in no layer"):
        rewrite(top, two, {7: runs({4, 60})})
    assert snapshot(tmp_path) == before and leftovers(tmp_path) == []


def test_children_go_on_as_before(tmp_path: Path) -> None:
    _one, two, _top = three(tmp_path)
    before = memories(tmp_path)
    rewrite(two, None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    assert memories(tmp_path) == before
    assert check_chain(Layer(tmp_path / "3"), contents=True) == []
    assert Layer(tmp_path / "3").chain()[1].parent_link is None


def test_the_sidecar_stays_the_layers_own(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    assert top.sidecar and one.sidecar
    replace(top.sidecar, label="before lunch", other={"of_tomorrow": 1}).store(top.directory)
    old = Layer(top.path).sidecar
    made = rewrite(Layer(top.path), one, {7: runs({3, 4, 5})}).sidecar
    assert old and made
    assert made.parent_id == one.sidecar.layer_id
    assert replace(made, parent_id=old.parent_id, checksums={}) == replace(old, checksums={})
    assert made.checksums["pages-1.img"].size == 3 * PAGE
    assert made.checksums["core-7.img"] == old.checksums["core-7.img"]


def test_a_layer_of_criu_gets_a_sidecar(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    (top.directory / SIDECAR).unlink()
    (one.directory / SIDECAR).unlink()
    made = rewrite(Layer(top.path), Layer(one.path), {7: runs({3, 4, 5})})
    assert made.sidecar and made.sidecar.made_by == "criu" and made.sidecar.parent_id is None
    assert check_chain(made, contents=True) == []


def test_lazy_entries_stay_lazy(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    (one.directory / SIDECAR).unlink()
    flags = np.array([PageFlag.PRESENT, PageFlag.PRESENT | PageFlag.LAZY], dtype=np.uint32)
    starts = np.array([runs({1}).starts[0], runs({2}).starts[0]], dtype=np.uint64)
    lazy = PageMap(1, starts, np.array([1, 3], dtype=np.uint64), flags)
    one.file("pagemap-7.img").write_bytes(lazy.encode())
    made = rewrite(Layer(top.path), None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    found = {int(at): int(flag) for at, flag in zip(made.pagemap(7).vaddr, made.pagemap(7).flags, strict=True)}
    assert found == {int(runs({1}).starts[0]): 4, int(runs({2}).starts[0]): 6, int(runs({3}).starts[0]): 4}
    assert made.pagemap(7).present == runs({1, 2, 3, 4, 5})


def test_modes_links_and_directories_are_carried_over(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    (top.directory / "lamina/deep").mkdir(parents=True)
    (top.directory / "lamina/deep/file").write_text("kept")
    (top.directory / "lamina/link").symlink_to("deep/file")
    (top.directory / "dump.log").write_text("kept, too")
    top.directory.chmod(0o750)
    top.file("pages-1.img").chmod(0o640)
    top.file("core-7.img").chmod(0o444)
    made = rewrite(top, one, {7: runs({3, 4, 5})}).directory
    assert (made / "lamina/deep/file").read_text() == "kept" and os.readlink(made / "lamina/link") == "deep/file"
    assert (made / "dump.log").read_text() == "kept, too"
    modes = {name: (made / name).stat().st_mode & 0o7777 for name in (".", "pages-1.img", "core-7.img", "pagemap-7.img", SIDECAR)}
    assert modes == {".": 0o750, "pages-1.img": 0o640, "core-7.img": 0o444, "pagemap-7.img": 0o600, SIDECAR: 0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_owner_stays(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    for path in (top.directory, *top.directory.iterdir()):
        os.chown(path, 65534, 65534, follow_symlinks=False)
    made = rewrite(top, one, {7: runs({3, 4, 5})}).directory
    found = {path.name: path.lstat().st_uid for path in (made, *made.iterdir()) if path.name != "parent"}
    assert set(found.values()) == {65534}, found


def test_holes_stay_holes(tmp_path: Path) -> None:
    """A zero page that a sparse copy left without blocks."""
    one, _, top = three(tmp_path)
    assert one.sidecar
    with one.file("pages-1.img").open("r+b") as file:
        os.ftruncate(file.fileno(), 0)
        os.ftruncate(file.fileno(), 4 * PAGE)
        os.pwrite(file.fileno(), b"x" * PAGE, PAGE)
        replace(one.sidecar, checksums={**one.sidecar.checksums, "pages-1.img": sum_file(file.fileno())}).store(one.directory)
    made = rewrite(Layer(top.path), None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    assert file_holes(made.file("pages-1.img"), 5 * PAGE) == PageRuns.of([(0, PAGE)])
    assert made.file("pages-1.img").read_bytes()[: 2 * PAGE] == bytes(PAGE) + b"x" * PAGE


def test_copied_by_hand_where_the_kernel_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _one, _, top = three(tmp_path)
    before = memories(tmp_path)

    def refuses(*_rest: object) -> int:
        raise OSError(errno.EXDEV, "")

    monkeypatch.setattr(os, "copy_file_range", refuses)
    rewrite(top, None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    monkeypatch.setattr(os, "copy_file_range", lambda *_rest: 0)
    rewrite(Layer(tmp_path / "2"), None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    assert memories(tmp_path) == before


def punch_page(layer: Layer, page: int, by: str) -> None:
    """As a dedup of *by* would: recorded, and gone."""
    assert layer.sidecar
    at = int(np.searchsorted(layer.pagemap(7).present.addresses(), runs({page}).starts[0])) * PAGE
    with layer.file("pages-1.img").open("r+b") as file:
        os.pwrite(file.fileno(), bytes(PAGE), at)
    layer.sidecar.with_punched("pages-1.img", PageRuns.of([(at, at + PAGE)]), by).store(layer.directory)


def test_punched_pages_are_not_taken(tmp_path: Path) -> None:
    one, two, top = three(tmp_path)
    (one.directory / SIDECAR).write_text(replace(one.sidecar, checksums={}).to_json() if one.sidecar else "")
    punch_page(Layer(one.path), 4, "3")
    before = snapshot(tmp_path)
    with pytest.raises(ImageError, match=r"1 pages that it would take of 1 were punched by 3"):
        rewrite(Layer(two.path), None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    assert snapshot(tmp_path) == before
    assert rewrite(Layer(top.path), Layer(one.path), {7: runs({3, 4, 5})}).parent_link == "../1"


def test_what_it_lost_itself_stays_recorded(tmp_path: Path) -> None:
    one, two, _ = three(tmp_path)
    assert two.sidecar
    replace(two.sidecar, checksums={}).store(two.directory)
    punch_page(Layer(two.path), 5, "3")
    made = rewrite(Layer(two.path), one, {7: runs({1, 3, 5})})
    assert made.sidecar and made.sidecar.punched == {"pages-1.img": PageRuns.of([(2 * PAGE, 3 * PAGE)])}
    assert made.sidecar.punched_by == ("3",)
    made = rewrite(made, one, {7: runs({3, 5}), 8: runs({9})})
    assert made.sidecar and made.sidecar.punched == {"pages-1.img": PageRuns.of([(PAGE, 2 * PAGE)])}
    assert not [it for it in check_chain(made, contents=True) if "checksum" in it.why]


def test_damage_gets_no_new_checksum(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    with one.file("pages-1.img").open("r+b") as file:
        os.pwrite(file.fileno(), b"rot", PAGE)
    with pytest.raises(ImageError, match=r"1/pages-1.img: its content changed since it was written"):
        rewrite(top, None, {7: runs({1, 2, 3, 4, 5}), 8: runs({9})})
    assert leftovers(tmp_path) == []


def test_a_file_system_that_cannot_exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _, top = three(tmp_path)
    before = snapshot(tmp_path)

    def refuses(_one: Path, _other: Path) -> None:
        raise OSError(errno.EINVAL, "")

    monkeypatch.setattr(new_directory, "exchange", refuses)
    with pytest.raises(ImageError, match="RENAME_EXCHANGE"):
        rewrite(top, one, {7: runs({3, 4, 5})})
    assert snapshot(tmp_path) == before and leftovers(tmp_path) == []


def test_progress_and_cancel(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    events: list[Event] = []
    cancel = CancelToken()

    def listen(event: Event) -> None:
        events.append(event)
        cancel.cancel()

    before = snapshot(tmp_path)
    with pytest.raises(Cancelled, match="nothing was changed"):
        rewrite(top, one, {7: runs({3, 4, 5})}, listen, cancel)
    assert snapshot(tmp_path) == before and leftovers(tmp_path) == []
    events.clear()
    rewrite(top, one, {7: runs({3, 4, 5})}, events.append)
    last = events[-1]
    assert isinstance(last, Progress) and (last.done, last.total, last.done_bytes) == (3, 3, 3 * PAGE)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _, top = three(tmp_path)
    real = os.statvfs(tmp_path)
    full = os.statvfs_result((*real[:3], 10, 10, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    with pytest.raises(ImageError, match="no space left on device"):
        rewrite(top, one, {7: runs({3, 4, 5})})


def test_leftovers_are_swept_unless_somebody_is_at_them(tmp_path: Path) -> None:
    one, _, top = three(tmp_path)
    left = tmp_path / f"{REBUILT}3"
    (left / "deep").mkdir(parents=True)
    (left / "deep/file").write_text("")
    fd = os.open(left, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    assert sweep_stack(tmp_path) == [] and left.exists()
    with pytest.raises(BusyError):
        rewrite(top, one, {7: runs({3, 4, 5})})
    os.close(fd)
    assert sweep_stack(tmp_path) == [left] and not left.exists()
    left.mkdir()
    rewrite(top, one, {7: runs({3, 4, 5})})
    assert leftovers(tmp_path) == []


def test_renames(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a")
    renames.exchange(tmp_path / "a", tmp_path / "b")
    assert os.readlink(tmp_path / "a") == "a" and (tmp_path / "b").is_dir()
    with pytest.raises(FileNotFoundError):
        renames.exchange(tmp_path / "a", tmp_path / "c")
    with pytest.raises(FileExistsError):
        renames.rename_new(tmp_path / "b", tmp_path / "a")
    renames.rename_new(tmp_path / "b", tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    one, _two, top = three(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        top = rewrite(top, one, {7: runs({3, 4, 5})})
        with pytest.raises(ImageError):
            rewrite(top, None, {})
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_page_that_differs_is_named(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"".join(bytes([n]) * PAGE for n in range(8)))
    changed = bytearray(one.read_bytes())
    changed[6 * PAGE + 17] ^= 1
    other.write_bytes(bytes(PAGE) + changed)
    pieces = Pieces(*(np.array(column, dtype=np.uint64) * PAGE for column in ([0, 3, 5], [1, 4, 6], [2, 1, 3])))
    with one.open("rb") as a, other.open("rb") as b:
        assert first_difference(a.fileno(), b.fileno(), pieces, CancelToken(), "test") == 7 * PAGE
        for same in (Pieces(pieces.source[:2], pieces.target[:2], pieces.size[:2]), Pieces(*(np.empty(0, np.uint64),) * 3)):
            assert first_difference(a.fileno(), b.fileno(), same, CancelToken(), "test") is None
        with pytest.raises(OSError):
            first_difference(
                a.fileno(), b.fileno(), Pieces(pieces.source, pieces.target, pieces.size * np.uint64(2)), CancelToken(), "test"
            )

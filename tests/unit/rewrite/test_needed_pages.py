"""Who loses what by dedup: hard links, dropped and pinned layers, sets as CRIU makes them; and each refusal before a byte goes."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.archive.compress import compress, expand
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import BusyError, Cancelled, ImageError
from lamina.core.events import CancelToken, Event, Progress
from lamina.core.image import format as fmt
from lamina.core.image.format import PageFlag
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import TRASH
from lamina.core.image.lock import locked
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.stack import Stack
from lamina.core.image.summary import summary_of
from lamina.core.rewrite.dedup import apply_dedup, dedup, plan_dedup
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, address, content, make, read_page
from tests.unit.image.stacks import Plan, build, new_stack, plans
from tests.unit.rewrite.memories import memory_of


def blocks(stack: Path) -> dict[str, tuple[int, bytes]]:
    """Of every file its blocks and its content."""
    return {
        str(it.relative_to(stack)): (it.stat().st_blocks, it.read_bytes())
        for it in stack.rglob("*")
        if it.is_file() and not it.is_symlink()
    }


def linked_copy(layer: Layer, name: str) -> Layer:
    """What `cp -al` makes of a layer: another directory with the same files."""
    target = layer.directory.parent / name
    subprocess.run(["cp", "-al", layer.directory, target], check=True)
    return Layer(target)


def pin(layer: Layer) -> None:
    assert layer.sidecar is not None
    replace(layer.sidecar, pinned=True).store(layer.directory)


@settings(max_examples=60, deadline=None)
@given(plan=plans(), data=st.data())
def test_no_layer_that_is_not_marked_changes(plan: Plan, data: st.DataObject) -> None:
    """Random trees with hard-linked copies, layers in the trash and pinned ones: what a layer resolves stays, or it is marked."""
    with new_stack() as stack:
        made = build(stack, plan)
        names = list(made)
        parents = {it.parent for it in plan.layers.values()}
        if data.draw(st.booleans()):
            linked_copy(made[data.draw(st.sampled_from(names))], "copy")
        pinned = data.draw(st.sets(st.sampled_from(names), max_size=1))
        for name in pinned:
            pin(made[name])
        target = data.draw(st.sampled_from([name for name, it in plan.layers.items() if it.parent]))
        for name in data.draw(st.sets(st.sampled_from(names))) - parents - {target}:
            (stack / name).rename(stack / f"{TRASH}{name}")
        before = {path.name: memory_of(Layer(path)) for path in stack.iterdir()}
        planned = plan_dedup(Layer(stack / target))
        losing = {it.directory.name for it in planned.losing}
        assert not losing & pinned
        assert apply_dedup(planned) == planned.bytes_freed == planned.pages * PAGE
        for name, memory in before.items():
            layer = Layer(stack / name)
            after = memory_of(layer)
            if name in losing:
                assert layer.sidecar and not layer.sidecar.restorable
                assert {key: page for key, page in after.items() if page is not None}.items() <= memory.items()
                assert None in after.values()
            else:
                assert after == memory
                assert check_chain(layer, contents=True) == []
                assert layer.sidecar is None or layer.sidecar.restorable
        again = plan_dedup(Layer(stack / target))
        assert again.cuts == () and again.marks == ()


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """1 ← 2 ← 3: 3 holds pages 1 and 2, which 1 has as well, and 2 page 1."""
    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(tmp_path, "2", Spec({7: {1}}, {7: {2, 3}}), "1", tag=2)
    make(tmp_path, "3", Spec({7: {1, 2}}, {7: {3}}), "2", tag=3)
    return tmp_path


# -- other names of a file -----------------------------------------------------------------------------------------------------------


def test_a_linked_copy_in_the_stack_keeps_its_pages(stack: Path) -> None:
    copy = linked_copy(Layer(stack / "1"), "copy")
    plan = plan_dedup(Layer(stack / "3"))
    assert [cut.layer.name for cut in plan.cuts] == ["2"]
    apply_dedup(plan)
    assert check_chain(copy, contents=True) == []
    assert read_page(copy, 7, 1) == content(1, 7, 1)


def test_a_name_outside_the_stack_refuses(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "backup.img"
    os.link(stack / "1" / "pages-1.img", outside)
    before = blocks(stack)
    with pytest.raises(ImageError, match=r"1/pages-1\.img has another name \(a hard link\) outside this stack"):
        dedup(Layer(stack / "3"))
    assert blocks(stack) == before
    outside.unlink()
    assert dedup(Layer(stack / "3"))[1] == 3 * PAGE


def test_two_ancestors_with_one_file_are_both_told(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2}}), tag=1)
    make(tmp_path, "2", Spec({7: {1, 2}}), "1", tag=1)
    make(tmp_path, "3", Spec({7: {1}}, {7: {2}}), "2", tag=3)
    (tmp_path / "2/pages-1.img").unlink()
    os.link(tmp_path / "1/pages-1.img", tmp_path / "2/pages-1.img")
    plan, freed = dedup(Layer(tmp_path / "3"))
    assert (plan.pages, plan.bytes_freed, freed) == (1, PAGE, PAGE)
    for name in ("1", "2"):
        sidecar = Layer(tmp_path / name).sidecar
        assert sidecar and dict(sidecar.punched) == {"pages-1.img": PageRuns.of([(0, PAGE)])} and not sidecar.restorable
    assert check_chain(Layer(tmp_path / "3"), contents=True) == []
    assert plan_dedup(Layer(tmp_path / "3")).cuts == ()


# -- layers that count although nobody lists them --------------------------------------------------------------------------------------


def test_a_dropped_layer_keeps_its_pages(stack: Path) -> None:
    make(stack, "4", Spec({7: set()}, {7: {1, 2, 3}}), "1", tag=4)
    (stack / "4").rename(stack / f"{TRASH}4")
    assert [it.directory.name for it in Stack.open(stack).trashed] == [f"{TRASH}4"]
    plan, _ = dedup(Layer(stack / "3"))
    assert [cut.layer.name for cut in plan.cuts] == ["2"]
    (stack / f"{TRASH}4").rename(stack / "4")
    assert check_chain(Layer(stack / "4"), contents=True) == []
    assert read_page(Layer(stack / "4"), 7, 1) == content(1, 7, 1)


def test_a_layer_in_a_directory_near_by_keeps_its_pages(tmp_path: Path) -> None:
    stack, other = tmp_path / "S", tmp_path / "T"
    make(stack, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(stack, "2", Spec({7: {1, 2}}, {7: {3}}), "1", tag=2)
    near = make(other, "x", Spec({7: {2}}, {7: {1}}), "../S/1", tag=3)
    plan, _ = dedup(Layer(stack / "2"))
    assert [(cut.layer.name, list(cut.ranges)) for cut in plan.cuts] == [("1", [(PAGE, 2 * PAGE)])]
    assert read_page(near, 7, 1) == content(1, 7, 1)
    near.file("inventory.img").write_bytes(b"broken")
    with pytest.raises(ImageError, match="what x needs of it is not known"):
        plan_dedup(Layer(stack / "2"))


def test_a_pinned_ancestor_stays_whole(stack: Path) -> None:
    pin(Layer(stack / "2"))
    plan, freed = dedup(Layer(stack / "3"))
    assert [it.name for it in plan.pinned] == ["2"]
    assert [(cut.layer.name, list(cut.ranges)) for cut in plan.cuts] == [("1", [(0, PAGE)])], "page 1 of 1 is needed by 1 alone"
    assert (freed, [it.name for it in plan.losing]) == (PAGE, ["1"])
    assert check_chain(Layer(stack / "2"), contents=True) == []


# -- what CRIU makes -------------------------------------------------------------------------------------------------------------------


def as_criu(layer: Layer) -> None:
    """Without a sidecar, and private anonymous pages lazy, as CRIU writes them."""
    (layer.directory / SIDECAR).unlink()
    for which in layer.objects:
        found = layer.pagemap(which)
        flags = np.where(found.flags & PageFlag.PRESENT, found.flags | PageFlag.LAZY, found.flags).astype(np.uint32)
        layer.file(f"pagemap-{which}.img").write_bytes(PageMap(found.pages_id, found.vaddr, found.pages, flags).encode())


def test_a_stack_of_criu(stack: Path) -> None:
    for name in "123":
        as_criu(Layer(stack / name))
    plan, freed = dedup(Layer(stack / "3"))
    assert (plan.pages, freed, [it.name for it in plan.losing]) == (3, 3 * PAGE, ["2", "1"])
    assert Layer(stack / "3").sidecar is None, "what loses nothing is not touched"
    assert [summary_of(Layer(stack / name)).why_not for name in "12"] == ["punched by 3"] * 2
    top = Layer(stack / "3")
    assert check_chain(top) == []
    assert [read_page(top, 7, page) for page in (1, 2, 3)] == [content(3, 7, 1), content(3, 7, 2), content(1, 7, 3)]


def test_a_lazy_entry_without_data_shifts_nothing(stack: Path) -> None:
    """CRIU's dedup punches at the offset such an entry would have: another, still needed page."""
    first = Layer(stack / "1")
    (stack / "1" / SIDECAR).unlink()
    vaddr = np.array([address(0), address(1), address(3)], dtype=np.uint64)
    flags = np.array([PageFlag.LAZY, PageFlag.PRESENT | PageFlag.LAZY, PageFlag.PRESENT], dtype=np.uint32)
    first.file("pagemap-7.img").write_bytes(PageMap(1, vaddr, np.array([1, 2, 1], dtype=np.uint64), flags).encode())
    make(stack, "4", Spec({7: {0, 1}}, {7: {2, 3}}), "1", tag=4)
    shutil.rmtree(stack / "2")
    shutil.rmtree(stack / "3")
    plan, _ = dedup(Layer(stack / "4"))
    assert [(cut.layer.name, list(cut.ranges)) for cut in plan.cuts] == [("1", [(0, PAGE)])]
    assert [read_page(Layer(stack / "4"), 7, page) for page in (2, 3)] == [content(1, 7, 2), content(1, 7, 3)]


def test_tasks_come_and_go(tmp_path: Path) -> None:
    """8 ended before 2; the 8 of layer 3 is another task with its number; 9 is new in 3."""
    make(tmp_path, "1", Spec({7: {1}, 8: {1, 2}}), tag=1)
    make(tmp_path, "2", Spec({7: {1}}), "1", tag=2)
    make(tmp_path, "3", Spec({7: {1}, 8: {1}, 9: {1}}), "2", tag=3)
    plan, _ = dedup(Layer(tmp_path / "3"))
    assert [(cut.layer.name, cut.pages_file) for cut in plan.cuts] == [("2", "pages-1.img"), ("1", "pages-1.img")]
    assert [read_page(Layer(tmp_path / "1"), 8, page) for page in (1, 2)] == [content(1, 8, 1), content(1, 8, 2)]
    gone, _ = dedup(Layer(tmp_path / "3"))
    assert gone.cuts == ()


def test_a_shared_object_under_another_number_is_another(tmp_path: Path) -> None:
    for name, number, above in (("1", 11, None), ("2", 12, "1"), ("3", 12, "2")):
        layer = make(tmp_path, name, Spec({7: {1}, number: {0, 1}}), above, tag=int(name))
        layer.file(f"pagemap-{number}.img").rename(layer.file(f"pagemap-shmem-{number}.img"))
        entries = [it for it in fmt.decode(layer.read("pstree.img"), fmt.PSTREE, "") if it.pid == 7]
        layer.file("pstree.img").write_bytes(fmt.encode_image(fmt.PSTREE, entries))
        (layer.directory / SIDECAR).unlink()
    plan, _ = dedup(Layer(tmp_path / "3"))
    assert [(cut.layer.name, cut.pages_file, cut.ranges.pages) for cut in plan.cuts] == [
        ("2", "pages-1.img", 1), ("2", "pages-2.img", 2), ("1", "pages-1.img", 1),
    ]  # fmt: skip


# -- refused before anything is recorded -----------------------------------------------------------------------------------------------


@pytest.fixture
def no_holes(tmp_path: Path) -> Iterator[Path]:
    """A file system that cannot punch holes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount one")
    place = tmp_path / "ramfs"
    place.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def test_a_file_system_without_holes_is_named_first(no_holes: Path) -> None:
    make(no_holes, "1", Spec({7: {1, 2}}), tag=1)
    make(no_holes, "2", Spec({7: {1}}, {7: {2}}), "1", tag=2)
    before = blocks(no_holes)
    with pytest.raises(ImageError, match=r"1/pages-1\.img: its file system cannot punch holes") as caught:
        dedup(Layer(no_holes / "2"))
    assert "--lossless" in caught.value.fix
    assert blocks(no_holes) == before


def test_damage_is_not_signed_anew(stack: Path) -> None:
    """Page 3 of layer 1 lies in the block whose checksum dedup renews: a flipped byte there must not get one that fits it."""
    with (stack / "1" / "pages-1.img").open("r+b") as file:
        file.seek(2 * PAGE)
        file.write(b"X")
    before = blocks(stack)
    with pytest.raises(ImageError, match=r"1/pages-1\.img: its content changed since it was written \(checksum of MiB 0\)"):
        dedup(Layer(stack / "3"))
    assert blocks(stack) == before


def test_compressed_layers_are_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: set(range(60))}), tag=1)
    make(tmp_path, "2", Spec({7: set(range(50))}, {7: {51}}), "1", tag=2)
    for name in ("1", "2"):
        compress(Layer(tmp_path / name))
        before = blocks(tmp_path)
        with pytest.raises(ImageError, match=f"layer {tmp_path}/{name}: its pages are compressed") as caught:
            dedup(Layer(tmp_path / "2"))
        assert caught.value.fix == f"lamina expand {tmp_path / name}"
        assert blocks(tmp_path) == before
        expand(Layer(tmp_path / name))
    assert dedup(Layer(tmp_path / "2"))[1] == 50 * PAGE


def test_a_cancel_before_the_record_changes_nothing(stack: Path) -> None:
    before = blocks(stack)
    for phase in ("check", "checksums"):
        cancel, seen = CancelToken(), list[Progress]()

        def listen(event: Event, phase: str = phase, cancel: CancelToken = cancel, seen: list[Progress] = seen) -> None:
            assert isinstance(event, Progress)
            seen.append(event)
            if event.phase == phase:
                cancel.cancel()

        with pytest.raises(Cancelled):
            dedup(Layer(stack / "3"), listen, cancel)
        assert seen and seen[-1].done == seen[-1].total
        assert blocks(stack) == before


def test_every_stack_of_the_chain_is_held(stack: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    layer = make(other, "4", Spec({7: {1}}), tag=4)
    (layer.directory / "parent").symlink_to(os.path.relpath(stack / "3", layer.directory))
    with locked(stack), pytest.raises(BusyError, match=str(stack)):
        dedup(Layer(layer.directory))
    with locked(other):
        plan, freed = dedup(Layer(layer.directory), locked_already=True)
    assert freed == plan.bytes_freed > 0


# -- interrupted -----------------------------------------------------------------------------------------------------------------------


def test_a_mark_that_was_not_written_is_made_good(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Death between the sidecars: 1 says what will be punched, 2, which needs it, says nothing yet."""
    make(stack, "2b", Spec({7: set()}, {7: {1, 2, 3}}), "1", tag=5)
    make(stack, "3b", Spec({7: {2}}, {7: {1, 3}}), "2b", tag=6)
    shutil.rmtree(stack / "3")
    shutil.rmtree(stack / "2")
    stored: list[Path] = []
    keep = Sidecar.store

    def dies(self: Sidecar, directory: Path) -> None:
        if stored:
            raise KeyboardInterrupt
        stored.append(directory)
        keep(self, directory)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Sidecar, "store", dies)
        dedup(Layer(stack / "3b"))
    assert [it.name for it in stored] == ["1"], "what will be punched is recorded before who needs it is marked"
    assert summary_of(Layer(stack / "2b")).restorable
    assert check_chain(Layer(stack / "2b")), "but verify knows"
    again, freed = dedup(Layer(stack / "3b"))
    assert (freed, again.losing, [it.name for it in again.marks]) == (PAGE, (), ["2b"])
    assert summary_of(Layer(stack / "2b")).why_not == "punched by 3b"
    assert check_chain(Layer(stack / "3b"), contents=True) == []

"""Every way a set of images can be wrong is found before anything is touched."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.layer import Layer
from lamina.core.image.pagemap import PageMap
from lamina.core.image.schema import pagemap_entry, pagemap_head
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.summary import summary_of
from lamina.core.verify import check_chain, require_whole
from tests.unit.image.layers import AREA_PAGES, BASE, Spec, core, inventory, make, mm, runs


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    make(tmp_path, "2", Spec({7: {1, 5}}, {7: {2, 3}}), "1", tag=2)
    return tmp_path


def found(layer: Path, contents: bool = False) -> list[str]:
    lines = [str(it) for it in check_chain(Layer(layer), contents)]
    assert not any("\n" in line for line in lines)
    return [line.removeprefix(f"{layer.parent}/") for line in lines]


def test_a_whole_layer_has_no_finding(stack: Path) -> None:
    for name in ("1", "2"):
        assert found(stack / name, contents=True) == []
        require_whole(Layer(stack / name), contents=True)


FULL_SET = ("pstree.img", "core-7.img", "core-507.img", "mm-7.img", "ids-7.img", "fs-7.img", "files.img", "fdinfo-1.img", "pages-1.img",
            "pagemap-7.img")  # fmt: skip


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize("name", FULL_SET)
def test_a_missing_file_is_named(stack: Path, name: str, sidecar: bool) -> None:
    if not sidecar:
        (stack / "2" / SIDECAR).unlink()
    (stack / "2" / name).unlink()
    assert f"2/{name}: missing" in found(stack / "2")
    with pytest.raises(ImageError, match="cannot restore layer"):
        require_whole(Layer(stack / "2"))


@pytest.mark.parametrize("name", ["pages-1.img", "pagemap-7.img"])
@pytest.mark.parametrize("sidecar", [True, False])
def test_a_missing_file_of_the_parent_is_named(stack: Path, name: str, sidecar: bool) -> None:
    if not sidecar:
        (stack / "1" / SIDECAR).unlink()
    (stack / "1" / name).unlink()
    assert any("1/pages-1.img: missing" in it or "2 pages it inherits: 1 has no pagemap-7.img" in it for it in found(stack / "2"))


def test_what_only_the_parent_itself_would_need_does_not_matter_to_a_child(stack: Path) -> None:
    (stack / "1" / "core-7.img").unlink()
    assert found(stack / "2", contents=True) == []


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize("name", [name for name in FULL_SET if name != "pages-1.img"])
def test_a_wrong_head_is_named(stack: Path, name: str, sidecar: bool) -> None:
    if not sidecar:
        (stack / "2" / SIDECAR).unlink()
    path = stack / "2" / name
    path.write_bytes(b"\0\0\0\0" + path.read_bytes()[4:])
    assert any(it.startswith(f"2/{name}: its magic is") for it in found(stack / "2"))


@pytest.mark.parametrize("sidecar", [True, False])
@pytest.mark.parametrize("change", [-1, -4096, 4096])
def test_a_pages_file_of_another_size(stack: Path, change: int, sidecar: bool) -> None:
    if not sidecar:
        (stack / "1" / SIDECAR).unlink()
    os.truncate(stack / "1" / "pages-1.img", 3 * 4096 + change)
    word = "shorter" if change < 0 else "longer"
    assert f"1/pages-1.img: {word} than its map says: {3 * 4096 + change} bytes, not 12288" in found(stack / "2")


def test_a_dangling_parent(stack: Path) -> None:
    (stack / "1").rename(stack / "moved")
    fix = f"if it was moved or renamed: lamina relink {stack}/2"
    assert found(stack / "2") == [f"2/parent: its parent ../1 is not there: no such directory ({fix})"]


def test_inherited_without_a_parent(stack: Path) -> None:
    (stack / "2" / "parent").unlink()
    why = f"it inherits 2 pages, but it has no parent (the first at {BASE + 2 * 4096:#x})"
    assert found(stack / "2") == [f"2/pagemap-7.img: {why} (lamina relink {stack}/2)"]


def test_a_hole_that_the_parent_does_not_cover(stack: Path) -> None:
    (stack / "1" / "pagemap-7.img").write_bytes(PageMap.of(1, runs({1, 2, 4}), runs(set())).encode())
    (stack / "1" / SIDECAR).unlink()
    assert found(stack / "2") == [
        f"2/pagemap-7.img: 1 page it inherits is not in pagemap-7.img of 1 (the first at {BASE + 3 * 4096:#x}) "
        f"(if that is not the layer it was dumped on: lamina relink {stack}/2)"
    ]


def test_a_lazy_dump_that_was_never_completed(stack: Path) -> None:
    entry = pagemap_entry(vaddr=BASE, compat_nr_pages=2, flags=2)
    (stack / "1" / SIDECAR).unlink()
    (stack / "1" / "pagemap-7.img").write_bytes(fmt.encode_image("pagemap", [pagemap_head(pages_id=1), entry]))
    (stack / "1" / "pages-1.img").write_bytes(b"")
    assert found(stack / "1") == [
        f"1/pagemap-7.img: 2 of its pages have no data: a lazy dump that was never completed (the first at {BASE:#x})"
    ]


def test_a_flipped_bit_is_found_by_contents_only_in_pages_and_always_elsewhere(stack: Path) -> None:
    for name, contents in (("core-7.img", False), ("pages-1.img", True)):
        raw = bytearray((stack / "2" / name).read_bytes())
        raw[-1] ^= 1
        (stack / "2" / name).write_bytes(raw)
        expected = [f"2/{name}: its content changed since it was written (checksum of MiB 0)"]
        assert found(stack / "2", contents=contents) == expected
        raw[-1] ^= 1
        (stack / "2" / name).write_bytes(raw)
    assert found(stack / "2", contents=True) == []


def test_a_flipped_bit_of_the_parents_pages(stack: Path) -> None:
    with (stack / "1" / "pages-1.img").open("r+b") as file:
        file.write(b"L")
    assert found(stack / "2") == []
    assert found(stack / "2", contents=True) == ["1/pages-1.img: its content changed since it was written (checksum of MiB 0)"]


def edit(stack: Path, name: str, kind: str, change: Callable[[list[object]], None]) -> list[str]:
    """What is found in layer 2, without its sidecar, after *change* of the records of one image."""
    path = stack / "2" / name
    records: list[object] = list(fmt.decode_image(path, kind))
    change(records)
    path.write_bytes(fmt.encode_image(kind, records))  # type: ignore[arg-type]
    (stack / "2" / SIDECAR).unlink(missing_ok=True)
    return found(stack / "2")


def test_references_that_lead_nowhere(stack: Path) -> None:
    lines = edit(stack, "files.img", "files", list[object].clear)
    assert lines == [
        "2/files.img: has no entry 2 for descriptor 0 of 7",
        "2/files.img: has no entry 1 for the executable of 7",
        "2/files.img: has no entry 2 for the working directory of 7",
        "2/files.img: has no entry 2 for the root of 7",
    ]


def test_a_mapped_file_that_is_not_listed(stack: Path) -> None:
    entry = mm()
    entry.vmas[0].status = fmt.VmaStatus.FILE_PRIVATE
    entry.vmas[0].shmid, entry.vmas[0].flags = 77, 2
    (stack / "2" / "mm-7.img").write_bytes(fmt.encode_image("mm", [entry]))
    (stack / "2" / SIDECAR).unlink()
    assert found(stack / "2") == [f"2/files.img: has no entry 77 for the area at {BASE:#x} of 7"]


def test_areas_out_of_order_and_pages_in_no_area(stack: Path) -> None:
    entry = mm()
    entry.vmas[0].end = BASE + 4 * 4096
    (stack / "2" / "mm-7.img").write_bytes(fmt.encode_image("mm", [entry]))
    (stack / "2" / SIDECAR).unlink()
    assert found(stack / "2") == [f"2/pagemap-7.img: 1 page lies in no area (the first at {BASE + 5 * 4096:#x})"]
    entry.vmas.append(entry.vmas[0])
    (stack / "2" / "mm-7.img").write_bytes(fmt.encode_image("mm", [entry]))
    span = f"{BASE:x}-{BASE + 4 * 4096:x}"
    assert found(stack / "2") == [f"2/mm-7.img: its area {span} is not in order: the one before it ends at {BASE + 4 * 4096:x}"]
    entry.vmas[1].start, entry.vmas[1].end = BASE + 1, BASE + 4096
    (stack / "2" / "mm-7.img").write_bytes(fmt.encode_image("mm", [entry]))
    assert found(stack / "2") == [f"2/mm-7.img: its area {BASE + 1:x}-{BASE + 4096:x} is not of whole pages, or empty"]


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ([], "it holds no task"),
        ([(7, 1, [7])], "task 7 stands before its parent 1"),
        ([(7, 0, [7]), (8, 0, [8])], "task 8 stands before its parent 0"),
        ([(7, 0, [7]), (7, 7, [7])], "the threads of task 7 are not its own"),
        ([(7, 0, [8, 7])], "the threads of task 7 are not its own"),
        ([(7, 0, [7, 9]), (8, 7, [8, 9])], "the threads of task 8 are not its own"),
        ([(0, 0, [])], "0 is not a pid, or one of its threads is not"),
        ([(1 << 31, 0, [])], f"{1 << 31} is not a pid, or one of its threads is not"),
        ([(7, 0, [7, 1 << 22])], "7 is not a pid, or one of its threads is not"),
    ],
)
def test_trees_that_are_none(stack: Path, tasks: list[tuple[int, int, list[int]]], why: str) -> None:
    records = [schema.pstree_entry(pid=pid, ppid=ppid, pgid=7, sid=7, threads=threads) for pid, ppid, threads in tasks]
    (stack / "2" / "pstree.img").write_bytes(fmt.encode_image("pstree", records))
    (stack / "2" / SIDECAR).unlink()
    assert found(stack / "2") == [f"2/pstree.img: {why}"]


def test_a_zombie_needs_no_memory(stack: Path) -> None:
    entry = core(7, True)
    entry.tc.task_state = fmt.TaskState.DEAD
    (stack / "2" / "core-7.img").write_bytes(fmt.encode_image("core", [entry]))
    for name in (SIDECAR, "mm-7.img", "ids-7.img", "fs-7.img", "fdinfo-1.img", "pagemap-7.img", "pages-1.img"):
        (stack / "2" / name).unlink()
    assert found(stack / "2") == []


def test_a_leader_without_its_task(stack: Path) -> None:
    (stack / "2" / "core-7.img").write_bytes(fmt.encode_image("core", [core(7, False)]))
    (stack / "2" / SIDECAR).unlink()
    assert "2/core-7.img: it has no task part although it is the leader's" in found(stack / "2")


def test_image_versions(stack: Path) -> None:
    record = inventory()
    record.img_version = 3
    (stack / "1" / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    assert any("its image version is 3; 1 and 2 are known" in it for it in found(stack / "2"))
    record.img_version = 1
    record.fdinfo_per_id = False
    (stack / "2" / "inventory.img").write_bytes(fmt.encode_image("inventory", [record]))
    (stack / "2" / SIDECAR).unlink()
    assert any("no fdinfo_per_id" in it for it in found(stack / "2"))


def test_a_pre_dump_is_a_parent_and_no_more(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2}}), pre_dump=True)
    make(tmp_path, "2", Spec({7: {1}}, {7: {2}}), "1")
    assert found(tmp_path / "2", contents=True) == []
    with pytest.raises(ImageError, match="memory only: a pre-dump"):
        require_whole(Layer(tmp_path / "1"))
    assert not summary_of(Layer(tmp_path / "1")).restorable
    assert Layer(tmp_path / "1").pids == (7,)


def test_the_first_of_many_is_one_line(stack: Path) -> None:
    for name in ("core-7.img", "mm-7.img", "files.img"):
        (stack / "2" / name).unlink()
    with pytest.raises(ImageError) as caught:
        require_whole(Layer(stack / "2"))
    assert str(caught.value) == f"cannot restore layer {stack}/2: core-7.img: missing (and 2 more)"


def test_links_in_the_place_of_images_are_not_followed(stack: Path, tmp_path: Path) -> None:
    for name in ("core-7.img", "pages-1.img", "pagemap-7.img", SIDECAR):
        target = tmp_path / f"moved-{name}"
        (stack / "2" / name).rename(target)
        (stack / "2" / name).symlink_to(target)
        assert found(stack / "2", contents=True) != []
        (stack / "2" / name).unlink()
        target.rename(stack / "2" / name)
    assert found(stack / "2", contents=True) == []


@pytest.mark.parametrize("name", ["inventory.img", "pstree.img", "core-7.img", "mm-7.img", "files.img", "pagemap-7.img", "lamina.json"])
def test_truncation_at_every_byte_gives_findings_and_nothing_else(stack: Path, name: str) -> None:
    path = stack / "2" / name
    whole = path.read_bytes()
    if name != SIDECAR:
        (stack / "2" / SIDECAR).unlink()
    needed = len(whole) - (name == SIDECAR)  # the last byte of JSON text is a line end
    for end in range(0, needed, 1 if len(whole) < 400 else 7):
        path.write_bytes(whole[:end])
        assert found(stack / "2"), f"{end} bytes of {len(whole)}"
    path.write_bytes(whole)
    assert found(stack / "2") == []


def test_sizes_that_do_not_fit_in_memory_are_not_read(stack: Path) -> None:
    with (stack / "2" / "files.img").open("r+b") as file:
        file.truncate(1 << 40)
    assert any("2/files.img" in it for it in found(stack / "2"))
    (stack / "2" / SIDECAR).unlink()
    with (stack / "1" / "pages-1.img").open("r+b") as file:
        file.truncate(1 << 40)
    assert any("longer than its map says" in it for it in found(stack / "2"))


def test_the_same_answer_for_a_copy(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    subprocess.run(["cp", "-a", "--sparse=always", str(stack / "1"), str(stack / "2"), str(tmp_path / "copy")], check=True)
    assert found(tmp_path / "copy" / "2", contents=True) == []


def test_files_of_another_kind_and_pages_behind_the_end_of_one(stack: Path) -> None:
    entry = mm()
    entry.vmas[0].status = fmt.VmaStatus.FILE_PRIVATE
    entry.vmas[0].shmid, entry.vmas[0].flags = 1, 2
    (stack / "2" / "mm-7.img").write_bytes(fmt.encode_image("mm", [entry]))
    (stack / "2" / SIDECAR).unlink()
    files = fmt.decode(stack / "2" / "files.img", fmt.FILES)
    files[0].reg.size = AREA_PAGES * 4096
    (stack / "2" / "files.img").write_bytes(fmt.encode_image("files", files))
    assert found(stack / "2") == []
    files[0].reg.size = 4096
    files[0].reg.mode, files[1].reg.mode = 0o040755, 0o100644
    (stack / "2" / "files.img").write_bytes(fmt.encode_image("files", files))
    assert found(stack / "2") == [
        "2/files.img: its entry 1 for the executable of 7 is not that (mode 0o40755)",
        "2/files.img: its entry 2 for the working directory of 7 is not that (mode 0o100644)",
        "2/files.img: its entry 2 for the root of 7 is not that (mode 0o100644)",
        f"2/pagemap-7.img: it has pages of the area at {BASE:#x} behind the end of its file, which had 4096 bytes",
    ]

"""The reader of memory, on made layers: the bytes, who has them, and every reason not to give any."""

import os
import time
from pathlib import Path

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import ImageError, LaminaError
from lamina.core.image import format as fmt
from lamina.core.image import schema
from lamina.core.image.draft import LayerDraft
from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import Sidecar, new_layer_id
from lamina.core.inspect.areas import AreaKind
from lamina.core.inspect.layer_memory import open_layer_memory, tasks_with_memory
from lamina.core.inspect.owned_pieces import read_owned
from lamina.core.inspect.sources import OwnerKind
from lamina.core.rewrite.dedup import apply_dedup, plan_dedup
from tests.unit.image.layers import AREA_PAGES, BASE, Spec, address, content, fown, inventory, make, runs, write_memory, write_tasks
from tests.unit.image.stacks import Plan, build, new_stack, plans, resolve_naively
from tests.unit.inspect.naive import read_naively


@settings(max_examples=25, deadline=None)
@given(plan=plans(), data=st.data())
def test_any_read_is_that_of_the_naive_reader(plan: Plan, data: st.DataObject) -> None:
    with new_stack() as stack:
        for name, layer in build(stack, plan).items():
            for pid in tasks_with_memory(layer):
                with open_layer_memory(layer, pid) as memory:
                    for _ in range(8):
                        start = BASE + data.draw(st.integers(0, (plan.pages + 2) * PAGE))
                        size = data.draw(st.integers(1, 5 * PAGE))
                        expected = read_naively(layer, pid, start, size)
                        assert memory.read(start, size) == expected
                        assert memory.window(start, size).data == expected
                        assert read_owned(resolve(layer.chain(), pid), start, size) == expected
                    for page in range(plan.pages):
                        owner = resolve_naively(plan, name, pid, page)
                        assert memory.owner(address(page)).name == (owner or "")
                    held = runs({page for page in range(plan.pages) if resolve_naively(plan, name, pid, page)})
                    assert memory.known == held
                    assert memory.readable == PageRuns.of([(BASE, BASE + AREA_PAGES * PAGE)])
                    check_windows(memory.readable, memory, data)


def check_windows(wanted: PageRuns, memory: "object", data: st.DataObject) -> None:
    """Together the windows are all of it, whatever their size, and overlap as they say."""
    from lamina.core.inspect.memory_reader import Memory

    assert isinstance(memory, Memory)
    size, overlap = data.draw(st.integers(1, 3 * PAGE)), data.draw(st.integers(0, 100))
    for start, end in wanted.clip(BASE, BASE + 5 * PAGE):
        whole, at = memory.read(start, end - start), start
        for begin, view, kept, last in memory.windows(PageRuns.of([(start, end)]), size, overlap):
            assert begin + kept == at and kept == min(overlap, at - start)
            assert bytes(view) == whole[begin - start : begin - start + len(view)]
            at = begin + len(view)
            assert last == (at == end)
        assert at == end


def test_spans_say_who_has_what(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {0, 1, 2, 3, 8}}))
    make(tmp_path, "2", Spec({7: {2, 5}}, {7: {0, 1, 3}}), "1")
    layer = make(tmp_path, "3", Spec({7: {3}}, {7: {0, 1, 2, 5}}), "2")
    with open_layer_memory(layer, 7) as memory:
        spans = [((span.start - BASE) / PAGE, (span.end - BASE) / PAGE, str(span.owner)) for span in memory.spans(BASE, address(9))]
        assert spans == [
            (0, 2, "layer 1"), (2, 3, "layer 2"), (3, 4, "layer 3"), (4, 5, "zero"), (5, 6, "layer 2"), (6, 9, "zero"),
        ]  # fmt: skip
        span = next(memory.spans(BASE + 100, BASE + 200))
        assert (span.start, span.end, span.owner.place) == (BASE + 100, BASE + 200, str(tmp_path / "1"))
        assert memory.owned_by(OwnerKind.LAYER) == runs({0, 1, 2, 3, 5})
        # The one area of a made layer is where its stack begins, too.
        assert memory.areas[0].kind is AreaKind.STACK and memory.areas[0].perms == "rw-p"


def test_what_is_not_mapped_names_the_nearest_area(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {0}}))
    end = BASE + AREA_PAGES * PAGE
    with open_layer_memory(layer, 7) as memory:
        for start, size, where in (
            (BASE - 1, 2, f"{BASE - 1:#x}.*0x1 bytes above"),
            (end - 5, 6, f"{end:#x}.*0x1 bytes below"),
            (0, 1, "nearest area is"),
        ):
            for read in (memory.read, memory.check):
                with pytest.raises(ImageError, match=where):
                    read(start, size)
            assert memory.window(start, size).spans == tuple(memory.spans(start, start + size))
        with pytest.raises(ImageError, match="nothing is mapped there"):
            memory.owner(end)
    with pytest.raises(ImageError, match="no process 9 in layer .*: the layer holds 7"):
        open_layer_memory(layer, 9)


def test_punched_pages_are_an_error_that_names_who(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {0, 1, 2}}))
    second = make(tmp_path, "2", Spec({7: {1}}, {7: {0, 2}}), "1")
    apply_dedup(plan_dedup(second))
    with open_layer_memory(Layer(tmp_path / "1"), 7) as memory:
        assert memory.read(address(0), PAGE) == content(0, 7, 0)
        with pytest.raises(ImageError, match=f"{address(1):#x} in process 7 of layer .*: punched: dedup of 2 freed it in layer 1"):
            memory.read(address(0), 3 * PAGE)
        assert memory.window(address(0), 3 * PAGE).data == content(0, 7, 0) + bytes(PAGE) + content(0, 7, 2)
        assert not memory.readable & runs({1})
    with open_layer_memory(Layer(tmp_path / "2"), 7) as memory:
        assert memory.read(address(1), PAGE) == content(0, 7, 1)


def test_pages_that_another_tool_freed(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {0, 1, 2}}))
    from lamina.core.image.holes import punch

    (layer.directory / "lamina.json").unlink()
    fd = os.open(layer.pages_path(7), os.O_RDWR)
    punch(fd, PageRuns.of([(PAGE, 2 * PAGE)]))
    os.close(fd)
    with open_layer_memory(Layer(tmp_path / "1"), 7) as memory:
        assert memory.read(address(0), PAGE) == content(0, 7, 0)
        with pytest.raises(ImageError, match="punched: another tool freed it in layer 1"):
            memory.read(address(1), 1)


def test_what_a_parent_lacks_and_what_never_came(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {0}}))
    layer = make(tmp_path, "2", Spec({7: {2}}, {7: {0, 1}}), "1")
    with open_layer_memory(layer, 7) as memory:
        with pytest.raises(ImageError, match="not in the images: layer 1 should have it and has not"):
            memory.read(address(1), 1)
        assert memory.owned_by(OwnerKind.MISSING) == runs({1})


def test_a_pages_file_that_ends_early(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {0, 1, 2}}))
    os.truncate(layer.pages_path(7), PAGE + 10)
    with open_layer_memory(layer, 7) as memory:
        assert memory.read(address(0), PAGE) == content(0, 7, 0)
        with pytest.raises(ImageError, match=r"truncated image .*pages-1\.img"):
            memory.read(address(1), PAGE)


def test_a_pre_dump_has_pages_without_areas(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: {0, 2}}), pre_dump=True)
    with open_layer_memory(layer, 7) as memory:
        assert [(area.start, area.end, area.kind) for area in memory.areas] == [
            (address(0), address(1), AreaKind.OTHER), (address(2), address(3), AreaKind.OTHER),
        ]  # fmt: skip
        assert memory.read(address(2), 5) == content(0, 7, 2)[:5]
        with pytest.raises(ImageError, match="nothing is mapped"):
            memory.read(address(1), 1)


# -- shared memory and files ---------------------------------------------------------------------------------------------------------

SHARED, PRIVATE, FILE, MEMFD = (BASE + n * (1 << 30) for n in range(1, 5))


def area(start: int, pages: int, status: int, flags: int, shmid: int = 0, pgoff: int = 0) -> schema.vma_entry:
    return schema.vma_entry(start=start, end=start + pages * PAGE, pgoff=pgoff, shmid=shmid, prot=3, flags=flags, status=status | 1, fd=-1)


def replace_image(layer: Layer, name: str, kind: str, records: list[Message]) -> None:
    """Put other records into a layer's image."""
    layer.file(name).write_bytes(fmt.encode_image(kind, records))


def add_areas(layer: Layer, areas: list[schema.vma_entry]) -> Layer:
    """The layer, opened again, with more mappings for its task."""
    mm = schema.mm_entry()
    mm.CopyFrom(layer.mm(7))
    mm.vmas.extend(areas)
    replace_image(layer, "mm-7.img", "mm", [mm])
    return Layer(layer.path)


def reg(number: int, path: bytes, **fields: int) -> schema.file_entry:
    entry = schema.reg_file_entry(id=number, flags=0, pos=0, fown=fown(), name=path, **fields)  # type: ignore[arg-type]  # the stub sees one type for all fields
    return schema.file_entry(type=schema.fd_types.REG, id=number, reg=entry)


def make_with_shared(stack: Path, name: str, parent: str | None, own: set[int], inherited: set[int], mapped: Path) -> Layer:
    """A layer whose task maps a shared object of eight pages from its third on, a memfd, and a file of three and a half pages."""
    tag = int(name)
    path = stack / name
    path.mkdir(parents=True)
    with LayerDraft.create(path, None if parent is None else f"../{parent}") as draft:
        write_memory(draft, tag, Spec({7: {0}}))
        write_tasks(draft, [7])
        for number, which in enumerate(("shmem-5", "shmem-9"), 11):
            draft.put_pagemap(
                which, PageMap.of(number, *(PageRuns.from_pages([page * PAGE for page in pages]) for pages in (own, inherited)))
            )
            with open(draft.open_pages(number), "wb", closefd=False) as file:
                for page in sorted(own):
                    file.write(content(tag, number, page))
        inode = schema.memfd_inode_entry(name="m", uid=0, gid=0, size=8 * PAGE, shmid=9, seals=0, inode_id=3)
        draft.put("memfd", fmt.IMAGES["memfd"], [inode])
        draft.put("inventory", fmt.INVENTORY, [inventory()])
        layer = draft.commit(Sidecar(new_layer_id(), time=1.7e9 + tag))
    memfd = schema.memfd_file_entry(id=41, flags=0, pos=0, fown=fown(), inode_id=3)
    info = mapped.stat()
    files = [
        reg(1, b"/bin/x"), reg(2, b"/"), reg(40, os.fsencode(mapped), size=info.st_size, mode=info.st_mode),
        schema.file_entry(type=schema.fd_types.MEMFD, id=41, memfd=memfd),
    ]  # fmt: skip
    replace_image(layer, "files.img", "files", [*files])
    status = fmt.VmaStatus
    return add_areas(
        layer,
        [
            area(SHARED, 4, status.ANON_SHARED, 0x21, 5, 2 * PAGE),
            area(PRIVATE, 2, status.ANON_SHARED, 0x21, 77),
            area(FILE, 6, status.FILE_PRIVATE, 0x2, 40),
            area(MEMFD, 8, status.MEMFD | status.FILE_SHARED, 0x1, 41),
        ],
    )


@pytest.fixture
def mapped(tmp_path: Path) -> Path:
    path = tmp_path / "mapped"
    path.write_bytes(b"".join(f"file page {page}".encode().ljust(PAGE, b"~") for page in range(4))[: 3 * PAGE + PAGE // 2])
    return path


def test_shared_objects_through_parents(tmp_path: Path, mapped: Path) -> None:
    make_with_shared(tmp_path, "1", None, {0, 2, 3, 5}, set(), mapped)
    layer = make_with_shared(tmp_path, "2", "1", {3}, {0, 2, 5}, mapped)
    with open_layer_memory(layer, 7) as memory:
        # The mapping begins at the object's third page.
        expected = [content(1, 11, 2), content(2, 11, 3), bytes(PAGE), content(1, 11, 5)]
        assert memory.read(SHARED, 4 * PAGE) == b"".join(expected)
        assert [str(span.owner) for span in memory.spans(SHARED, SHARED + 4 * PAGE)] == ["layer 1", "layer 2", "zero", "layer 1"]
        assert memory.read(MEMFD + 3 * PAGE, PAGE) == content(2, 12, 3)
        assert memory.area_at(MEMFD) is not None and memory.area_at(SHARED + PAGE).kind is AreaKind.SHARED  # type: ignore[union-attr]  # it is there
        with pytest.raises(ImageError, match=r"not in the images: the layer has no pagemap-shmem-77\.img"):
            memory.read(PRIVATE, 1)


def test_pages_of_files_are_read_while_the_file_is_the_same(tmp_path: Path, mapped: Path) -> None:
    layer = make_with_shared(tmp_path, "1", None, {0}, set(), mapped)
    held = mapped.read_bytes()
    with open_layer_memory(layer, 7) as memory:
        assert memory.read(FILE, 4 * PAGE) == held + bytes(PAGE // 2)
        assert memory.owner(FILE + PAGE).kind is OwnerKind.FILE and memory.owner(FILE).name == str(mapped)
        with pytest.raises(ImageError, match="behind the end of the mapped file"):
            memory.read(FILE + 4 * PAGE, 1)
    for change, why in (
        (lambda: mapped.write_bytes(held[:-1]), f"which has {len(held) - 1} bytes"),
        (mapped.unlink, "which is not there"),
        (mapped.mkdir, "not the kind of file"),
    ):
        change()
        with (
            open_layer_memory(Layer(layer.path), 7) as memory,
            pytest.raises(ImageError, match=f"not in the images: it is a page of .*{why}"),
        ):
            memory.read(FILE, 1)


def test_a_fifo_in_the_file_s_place_hangs_nobody(tmp_path: Path, mapped: Path) -> None:
    layer = make_with_shared(tmp_path, "1", None, {0}, set(), mapped)
    mapped.unlink()
    os.mkfifo(mapped)
    with open_layer_memory(layer, 7) as memory, pytest.raises(LaminaError):
        memory.read(FILE, 1)


def test_damaged_areas_are_refused(tmp_path: Path) -> None:
    private = fmt.VmaStatus.ANON_PRIVATE
    for number, start in enumerate((BASE - 1, BASE, 1 << 60)):
        layer = add_areas(make(tmp_path, str(number), Spec({7: {0}})), [area(start, 1, private, 2)])
        with pytest.raises(ImageError, match=r"damaged image .*mm-7\.img"):
            open_layer_memory(layer, 7)


def test_a_window_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(0, AREA_PAGES, 2))}))
    with open_layer_memory(layer, 7) as memory:
        memory.window(BASE, 4096)
        took = []
        for n in range(50):
            began = time.perf_counter()
            memory.window(BASE + n * 1000, 4096)
            took.append(time.perf_counter() - began)
        assert sorted(took)[25] < 0.001

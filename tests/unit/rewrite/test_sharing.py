"""Equal pages anywhere in a stack: found by hashing, shared by the kernel where the file system can, and counted where it cannot."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lamina.core.cli.entry import main
from lamina.core.dirty.runs import PAGE
from lamina.core.errors import NativeError
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.rewrite.lossless import apply_lossless, plan_lossless
from lamina.core.rewrite.reflink import NOT_KNOWN, physical_addresses, share, why_not_shared
from lamina.core.rewrite.sharing import find_equal, pages_files
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, make
from tests.unit.image.test_native_leaks import grows, open_descriptors
from tests.unit.rewrite.file_systems import CannotMountError, mounted, used
from tests.unit.rewrite.memories import memories

PAGES = 60


@pytest.fixture(params=["btrfs", "xfs"])
def sharing_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path | None]:
    """A file system that shares blocks; None where none can be mounted: the tests look at the refusal instead."""
    try:
        with mounted(request.param, tmp_path) as place:
            yield place
    except CannotMountError as error:
        print(error)
        yield None


def two_trees(stack: Path) -> None:
    """Two full layers of one content, and one on the first that writes half of it again at other addresses."""
    make(stack, "1", Spec({7: set(range(PAGES))}), tag=1)
    make(stack, "2", Spec({7: set(range(PAGES))}), tag=1)
    layer = make(stack, "3", Spec({8: set(range(PAGES))}, {7: set()}), "1", tag=1)
    # The same bytes at other addresses of another task, the halves the other way round.
    data = (stack / "1" / "pages-1.img").read_bytes()
    path = layer.pages_path(8)
    path.write_bytes(data[len(data) // 2 :] + data[: len(data) // 2])
    (stack / "3" / "lamina.json").unlink()


def test_equal_pages_come_to_share_their_blocks(sharing_place: Path | None, tmp_path: Path) -> None:
    stack = sharing_place or tmp_path
    two_trees(stack)
    before, contents = memories(stack), {path: path.read_bytes() for path in stack.glob("*/*.img")}
    foreseen = plan_lossless(stack)
    assert foreseen.pages == 0
    assert foreseen.equal is not None and (foreseen.equal.scanned, foreseen.equal.pages) == (3 * PAGES, 2 * PAGES)
    if sharing_place is None:
        assert "cannot share blocks between files" in foreseen.why_not
        return
    assert foreseen.why_not == ""
    occupied = used(stack)
    done = apply_lossless(stack)
    assert done.shared_bytes == 2 * PAGES * PAGE
    # btrfs gives an extent back once nobody has a part of it.
    assert occupied - used(stack) >= (2 * PAGES - 8) * PAGE
    assert memories(stack) == before
    assert {path: path.read_bytes() for path in stack.glob("*/*.img")} == contents
    assert [check_chain(Layer(stack / name), contents=True) for name in "123"] == [[], [], []]
    again = plan_lossless(stack)
    assert again.equal is not None and (again.equal.pages, again.equal.shared) == (0, 2 * PAGES)


def test_of_one_layer_only_its_own_pages_move(sharing_place: Path | None, tmp_path: Path) -> None:
    stack = sharing_place or tmp_path
    two_trees(stack)
    opened = Stack.open(stack)
    equal = find_equal(pages_files(opened.layers), [opened.find("1")])
    assert {equal.files[at].layer.name for at in equal.target.tolist()} == {"1"}
    assert equal.pages == PAGES
    if sharing_place is not None:
        assert apply_lossless(stack, [stack / "1"]).shared_bytes == PAGES * PAGE


def test_memory_shares_no_blocks_and_the_command_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    assert "cannot share blocks between files" in (why := why_not_shared(place)) or not why
    two_trees(tmp_path)
    assert main(["dedup", "--lossless", "--dry-run", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"{2 * PAGES} pages (480.0 KiB) more are equal to another page of the stack, " in out
    assert ("but stay: this file system (" in out) == bool(why_not_shared(tmp_path))


def test_what_is_punched_or_a_hole_is_not_counted(tmp_path: Path) -> None:
    make(tmp_path, "1", Spec({7: {1, 2, 3}}), tag=1)
    path = tmp_path / "1" / "pages-1.img"
    with path.open("r+b") as file:
        file.truncate(0)
        file.truncate(3 * PAGE)
    assert find_equal(pages_files(Stack.open(tmp_path).layers)).scanned == 0


def test_pages_that_repeat_are_pairs_that_do_not_overlap(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(12))}), tag=1)
    page = [bytes([at]) * PAGE for at in range(1, 5)]
    layer.pages_path(7).write_bytes(b"".join(page * 3))
    equal = find_equal(pages_files([layer]))
    assert (equal.pages, equal.sizes.tolist()) == (8, [4 * PAGE, 4 * PAGE])
    assert (equal.source_at.tolist(), equal.target_at.tolist()) == ([0, 0], [4 * PAGE, 8 * PAGE])


# -- C -----------------------------------------------------------------------------------------------------------------------------------


def column(*values: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.array(values, dtype=np.uint64)


def test_share_and_places(sharing_place: Path | None, tmp_path: Path) -> None:
    where = sharing_place or tmp_path
    data = os.urandom(8 * PAGE)
    one, other = where / "one", where / "other"
    one.write_bytes(data)
    other.write_bytes(data[: 4 * PAGE] + os.urandom(PAGE) + data[5 * PAGE :])
    every = np.arange(8, dtype=np.uint64) * np.uint64(PAGE)
    with one.open("r+b") as first, other.open("r+b") as second:
        descriptors = first.fileno(), second.fileno()
        os.fsync(descriptors[0])
        os.fsync(descriptors[1])
        if sharing_place is None:
            with pytest.raises(NativeError, match="FIDEDUPERANGE"):
                share(*descriptors, column(0), column(0), column(PAGE))
            return
        before = physical_addresses(descriptors[0], every), physical_addresses(descriptors[1], every)
        assert not np.isin(before[0], before[1]).any() and (before[0] != NOT_KNOWN).all()
        shared = share(*descriptors, column(0, 4 * PAGE, 5 * PAGE), column(0, 4 * PAGE, 5 * PAGE), column(4 * PAGE, PAGE, 3 * PAGE))
        assert shared.tolist() == [4 * PAGE, 0, 3 * PAGE], "what differs is left alone"
        after = physical_addresses(descriptors[0], every), physical_addresses(descriptors[1], every)
        assert (after[0] == after[1]).tolist() == [True] * 4 + [False] + [True] * 3

        def once() -> None:
            share(*descriptors, column(0), column(0), column(4 * PAGE))
            physical_addresses(descriptors[0], every)
            with pytest.raises(NativeError):
                share(*descriptors, column(0), column(1), column(PAGE))

        gc.collect()
        count = open_descriptors()
        assert grows(once, 200) < 4096
        assert open_descriptors() == count
    assert other.read_bytes()[:PAGE] == data[:PAGE]


def test_a_range_beyond_any_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w+b") as file, pytest.raises(NativeError, match="beyond what a file can have"):
        share(file.fileno(), file.fileno(), column(1 << 63), column(0), column(PAGE))


def test_places_of_a_sparse_file_and_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("w+b") as file:
        file.truncate(64 * PAGE)
        for page in (3, 4, 40):
            os.pwrite(file.fileno(), b"x" * PAGE, page * PAGE)
        found = physical_addresses(file.fileno(), np.arange(64, dtype=np.uint64) * np.uint64(PAGE))
    known = np.flatnonzero(found != NOT_KNOWN).tolist()
    assert known in ([3, 4, 40], []), "holes have no place; a file system that cannot be asked says nothing"
    with os.fdopen(os.memfd_create("pages"), "w+b") as file:
        file.write(bytes(PAGE))
        file.flush()
        assert physical_addresses(file.fileno(), column(0)).tolist() == [NOT_KNOWN]

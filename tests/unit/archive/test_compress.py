"""Layers at rest: expanded they are byte for byte what they were, holes, mode and times too, and a crash leaves one or both."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.archive import compress as module
from lamina.core.archive.compress import compress, expand
from lamina.core.archive.compress_plan import plan_compress, plan_expand
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import Cancelled, ImageError
from lamina.core.events import CancelToken, Event, Progress
from lamina.core.image import lock
from lamina.core.image.holes import holes_of, punch
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import NEW_FILE
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, make, read_page
from tests.unit.image.stacks import new_stack

PAGES = "pages-1.img"


def snapshot(directory: Path) -> dict[str, tuple[object, ...]]:
    """Everything about every file that expanding must bring back."""
    found: dict[str, tuple[object, ...]] = {}
    for entry in os.scandir(directory):
        info = entry.stat(follow_symlinks=False)
        fd = os.open(entry.path, os.O_RDONLY)
        try:
            holes = holes_of(fd, info.st_size)
        finally:
            os.close(fd)
        found[entry.name] = (Path(entry.path).read_bytes(), info.st_mode, info.st_mtime_ns, info.st_uid, info.st_gid, holes)
    return found


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 899), min_size=20), st.sets(st.integers(0, 899)), st.integers(0, 0o777), st.integers(0, 10**18))
def test_expanded_it_is_what_it_was(own: set[int], freed: set[int], mode: int, mtime_ns: int) -> None:
    with new_stack() as stack:
        layer = make(stack, "1", Spec({7: own}))
        path = stack / "1" / PAGES
        with path.open("r+b") as file:
            punch(file.fileno(), PageRuns.from_pages([page * PAGE for page in freed if page < len(own)]))
            if sidecar := layer.sidecar:
                # As a dedup would have recorded it: those blocks are not compared.
                replace(sidecar, punched={PAGES: PageRuns.of([(0, len(own) * PAGE)])}).store(layer.directory)
        path.chmod(mode | 0o400)
        os.utime(path, ns=(5, mtime_ns))
        before = snapshot(stack / "1")
        result = compress(Layer(stack / "1"))
        assert result.kept or Layer(stack / "1").compressed
        expand(Layer(stack / "1"))
        assert snapshot(stack / "1") == before


def test_a_compressed_layer_is_read_verified_and_a_parent(tmp_path: Path) -> None:
    make(tmp_path, "0", Spec({7: set(range(64))}), tag=1)
    child = make(tmp_path, "1", Spec({7: {1}}, {7: set(range(2, 64))}), "0", tag=2)
    wanted = [read_page(child, 7, page) for page in range(64)]
    result = compress(Layer(tmp_path / "0"))
    assert [file.name for file in result.files] == [PAGES] and result.bytes_freed > 0
    child = Layer(tmp_path / "1")
    assert not check_chain(child, contents=True)
    from lamina.core.image.owners import resolve
    from tests.unit.image.layers import address

    owned = resolve(child.chain(), 7)
    for page in range(1, 64):
        found = owned.of(address(page))
        assert found is not None
        with found[0].open_pages(7) as content:
            assert content.pread(PAGE, found[1]) == wanted[page]
    make(tmp_path, "2", Spec({7: {3}}, {7: {4, 5}}), "0", tag=3)  # a child on a compressed parent: only its map is needed
    for verb in ("cannot restore", "cannot dedup"):
        with pytest.raises(ImageError, match=f"{verb} .*compressed .lamina expand"):
            Layer(tmp_path / "0").require_writable(verb)


def test_the_dry_runs_change_nothing_and_are_near(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(900))}))
    before = snapshot(layer.directory)
    guess = plan_compress(layer)
    assert snapshot(layer.directory) == before
    done = compress(layer)
    assert abs(guess.files[0].disk_after - done.files[0].disk_after) < guess.files[0].disk_before / 10
    assert plan_expand(layer).files[0].disk_after == guess.files[0].disk_before == 900 * PAGE
    assert not plan_compress(layer).files and not compress(layer).files


def test_what_does_not_get_smaller_stays(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(64))}))
    path = layer.file(PAGES)
    path.write_bytes(os.urandom(64 * PAGE))
    layer.file("lamina.json").unlink()
    before = snapshot(layer.directory)
    assert compress(Layer(layer.directory)).kept == (PAGES,)
    assert snapshot(layer.directory) == before


def test_a_damaged_file_is_not_compressed(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(300))}))
    with layer.file(PAGES).open("r+b") as file:
        file.seek(PAGE * 280)
        file.write(b"?")
    with pytest.raises(ImageError, match="its content changed since it was written .checksum of MiB 1"):
        compress(layer)
    assert sorted(os.listdir(layer.directory)) == sorted(layer.names())


def test_a_damaged_compressed_file_is_not_expanded(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(300))}))
    compress(layer)
    packed = layer.file(PAGES + ".zst")
    raw = bytearray(packed.read_bytes())
    raw[len(raw) // 2] ^= 0x10
    packed.write_bytes(raw)
    with pytest.raises(ImageError, match=r"pages-1\.img\.zst"):
        expand(layer)
    assert packed.exists() and not layer.file(PAGES).exists()
    assert not [name for name in os.listdir(layer.directory) if name.startswith(".")]


class _Died(BaseException):
    """As if killed."""


@pytest.mark.parametrize("verb", [compress, expand])
@pytest.mark.parametrize("moment", range(12))
def test_cut_short_anywhere_one_of_both_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: object, moment: int) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(300))}))
    before = snapshot(layer.directory)
    if verb is expand:
        compress(layer)
    calls = iter(range(1000))

    def die_at(real: object) -> object:
        def call(*args: object, **options: object) -> object:
            if next(calls) == moment:
                raise _Died
            return real(*args, **options)  # type: ignore[operator]

        return call

    with monkeypatch.context() as patched:
        for owner, name in ((os, "fsync"), (Path, "rename"), (Path, "unlink"), (module, "sync_directory"), (module, "_write")):
            patched.setattr(owner, name, die_at(getattr(owner, name)))
        died = False
        try:
            (compress if verb is compress else expand)(layer)
        except _Died:
            died = True
    again = Layer(tmp_path / "1")
    assert again.read(PAGES) == before[PAGES][0], died
    compress(again)
    expand(Layer(tmp_path / "1"))
    assert snapshot(tmp_path / "1") == before


def test_what_a_dead_lamina_wrote_is_swept(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(64))}))
    left = layer.file(NEW_FILE + PAGES + ".zst")
    left.write_bytes(b"half")
    held = os.open(layer.file(NEW_FILE + "held"), os.O_RDWR | os.O_CREAT, 0o600)
    assert lock.take(held)
    compress(layer)
    assert not left.exists() and layer.file(NEW_FILE + "held").exists()  # somebody is still at that one
    os.close(held)


def test_cancelled_it_is_as_before(tmp_path: Path) -> None:
    layer = make(tmp_path, "1", Spec({7: set(range(900))}))
    before = snapshot(layer.directory)
    token = CancelToken()
    seen: list[Progress] = []

    def listen(event: Event) -> None:
        assert isinstance(event, Progress)
        seen.append(event)
        if len(seen) == 3:
            token.cancel()

    with pytest.raises(Cancelled, match="cancelled; 0 of 1 pages files are compressed"):
        compress(layer, listen, token)
    assert snapshot(layer.directory) == before
    assert [event.done for event in seen] == [256, 512, 768] and seen[0].total == 1800 and seen[0].phase == "compress"
    compress(layer)
    with pytest.raises(Cancelled, match="cancelled; 0 of 1 pages files are expanded"):
        expand(layer, cancel=token)
    assert layer.compressed


def test_an_archive_is_not_compressed(tmp_path: Path) -> None:
    from lamina.core.archive.export import export

    layer = make(tmp_path / "s", "1", Spec({7: {1}}))
    export(layer, tmp_path / "a.tar.zst")
    with pytest.raises(ImageError, match="it is in an archive .lamina import"):
        compress(Layer(tmp_path / "a.tar.zst"))

"""One archive of a layer with all it needs: what comes out is what went in, all of it or nothing, and nothing is overwritten."""

import json
import os
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from lamina.core.archive import unpack
from lamina.core.archive.compress import compress
from lamina.core.archive.export import export
from lamina.core.archive.importing import import_archive
from lamina.core.dirty.runs import PAGE, PageRuns
from lamina.core.errors import BusyError, Cancelled, ImageError
from lamina.core.events import CancelToken
from lamina.core.image import lock
from lamina.core.image.holes import holes_of, punch
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import COMMITTING, IMPORT, sweep_stack
from lamina.core.verify import check_chain
from tests.live.harness import need
from tests.unit.image.layers import Spec, make, read_page
from tests.unit.image.stacks import Plan, build, new_stack, plans


def content_of(stack: Path) -> dict[str, bytes | str]:
    """Every file of a stack by path: its bytes, or the text of a link."""
    found = {str(path.relative_to(stack)): path for path in stack.rglob("*") if path.is_symlink() or path.is_file()}
    return {name: os.readlink(path) if path.is_symlink() else path.read_bytes() for name, path in found.items()}


@pytest.fixture
def three(tmp_path: Path) -> Path:
    make(tmp_path / "s", "0", Spec({7: set(range(64))}), tag=1)
    make(tmp_path / "s", "1", Spec({7: {1, 2, 3}}, {7: set(range(10, 60))}), "0", tag=2, label="second")
    make(tmp_path / "s", "2", Spec({7: {1, 20}}, {7: {2, 3, 30, 40}}), "1", tag=3)
    return tmp_path


@settings(max_examples=25, deadline=None)
@given(plans())
def test_out_and_in_again(plan: Plan) -> None:
    with new_stack() as directory:
        layers = build(directory / "s", plan)
        leaf = list(layers.values())[-1]
        chain = leaf.chain()
        export(leaf, directory / "a.tar.zst")
        import_archive(directory / "a.tar.zst", directory / "t")
        wanted = {name: it for name, it in content_of(directory / "s").items() if name.split("/")[0] in {member.name for member in chain}}
        assert content_of(directory / "t") == wanted


@settings(max_examples=25, deadline=None)
@given(plans())
def test_flat_it_is_one_full_layer_of_the_same_memory(plan: Plan) -> None:
    from lamina.core.image.owners import resolve
    from tests.unit.image.layers import address

    with new_stack() as directory:
        leaf = list(build(directory / "s", plan).values())[-1]
        export(leaf, directory / "f.tar.zst", flat=True)
        import_archive(directory / "f.tar.zst", directory / "t")
        flat = Layer(directory / "t" / leaf.name)
        assert flat.parent_link is None and not check_chain(flat, contents=True)
        assert flat.objects == leaf.objects
        for pid in leaf.objects:
            assert resolve(flat.chain(), pid).runs == resolve(leaf.chain(), pid).runs
            for page in range(plan.pages):
                assert isinstance(pid, int) and read_page(flat, pid, page) == read_page(leaf, pid, page), address(page)


def test_holes_come_back_as_holes(tmp_path: Path) -> None:
    layer = make(tmp_path / "s", "0", Spec({7: set(range(64))}))
    sidecar = layer.sidecar
    assert sidecar is not None
    freed = PageRuns.from_pages([page * PAGE for page in (*range(5), *range(20, 40, 2), 63)])
    replace(sidecar, punched={"pages-1.img": freed}, checksums={}, punched_by=("later",)).store(layer.directory)
    with layer.file("pages-1.img").open("r+b") as file:
        punch(file.fileno(), freed)
    child = make(tmp_path / "s", "1", Spec({7: {*range(5), *range(20, 40, 2), 63}}, {7: {10, 11}}), "0")
    done = export(child, tmp_path / "a.tar.zst")
    assert done.bytes_read < 70 * PAGE  # of 80
    import_archive(tmp_path / "a.tar.zst", tmp_path / "t")
    with (tmp_path / "t/0/pages-1.img").open("rb") as file:
        assert holes_of(file.fileno(), 64 * PAGE) == freed
    # Other tools know them, too.
    need("zstd")
    subprocess.run(["tar", "--zstd", "-xf", str(tmp_path / "a.tar.zst"), "-C", str(tmp_path)], check=True)
    assert (tmp_path / "layers/0/pages-1.img").read_bytes() == layer.read("pages-1.img")
    with (tmp_path / "layers/0/pages-1.img").open("rb") as file:
        assert holes_of(file.fileno(), 64 * PAGE) == freed


def test_a_compressed_layer_is_exported_as_it_was(three: Path) -> None:
    before = content_of(three / "s")
    compress(Layer(three / "s/0"))
    export(Layer(three / "s/2"), three / "a.tar.zst")
    import_archive(three / "a.tar.zst", three / "t")
    assert content_of(three / "t") == before


def test_times_come_back(three: Path) -> None:
    os.utime(three / "s/0/pages-1.img", ns=(0, 1_234_567_890_123_456_789))
    export(Layer(three / "s/0"), three / "a.tar.zst")
    import_archive(three / "a.tar.zst", three / "t")
    for path in (three / "s/0").glob("*.img"):
        assert abs((three / "t/0" / path.name).stat().st_mtime_ns - path.stat().st_mtime_ns) <= 1000, path.name


def test_an_archive_of_an_archive(three: Path) -> None:
    export(Layer(three / "s/2"), three / "a.tar.zst")
    export(Layer(three / "a.tar.zst/layers/1"), three / "b.tar.zst")
    import_archive(three / "b.tar.zst", three / "t")
    assert sorted(path.name for path in (three / "t").iterdir()) == ["0", "1"]
    assert not check_chain(Layer(three / "t/1"), contents=True)


# -- what other tools find -----------------------------------------------------------------------------------------------------------


def test_checkpointctl_finds_what_it_reads(three: Path) -> None:
    """What checkpointctl 1.4 and go-criu 8 look up, written down here, for neither can be run: see docs/archives.md."""
    leaf = Layer(three / "s/2")
    sidecar = leaf.sidecar
    assert sidecar is not None
    replace(sidecar, cmdline=("redis-server", "*:6379"), host="box").store(leaf.directory)
    export(leaf, three / "a.tar.zst")
    need("zstd")
    tar = subprocess.run(["zstd", "-dc", str(three / "a.tar.zst")], capture_output=True, check=True).stdout
    (three / "a.tar").write_bytes(tar)
    with tarfile.open(three / "a.tar") as archive:
        names = archive.getnames()
        # It is a checkpoint if a directory entry begins with `checkpoint`; the sizes of all files that do are summed.
        assert archive.getmember("checkpoint").isdir()
        assert next(name for name in names if name.startswith("checkpoint")) == "checkpoint"

        def read(name: str) -> bytes:
            file = archive.extractfile(name)
            assert file is not None
            return file.read()

        config, spec = json.loads(read("config.dump")), json.loads(read("spec.dump"))
        assert len(config["id"]) >= 12 and all(isinstance(config[key], str) for key in ("name", "runtime"))
        for key in ("createdTime", "checkpointedTime"):  # RFC 3339, or Go refuses the whole file
            assert config[key] == "2023-11-14T22:13:23Z"
        assert spec["process"] == {"args": ["redis-server", "*:6379"], "cwd": "/tmp/\ufffd\ufffd name"} and spec["hostname"] == "box"
        assert "annotations" not in spec  # it was in no container
        for needed in ("pstree.img", "files.img", "core-7.img", "fs-7.img", "ids-7.img", "fdinfo-1.img", "mm-7.img", "pagemap-7.img"):
            assert read(f"checkpoint/{needed}") == leaf.read(needed)
        # It unpacks every member whose name contains the one it wants: only the exported layer may match.
        for wanted in ("config.dump", "spec.dump", "checkpoint/pages-", "checkpoint/pstree.img"):
            assert all(not name.startswith("layers/") for name in names if wanted in name)


def test_the_statistics_of_the_dump_are_where_podman_has_them(three: Path) -> None:
    (three / "s/2/stats-dump").write_bytes(b"statistics")
    export(Layer(three / "s/2"), three / "a.tar.zst", alone=True)
    need("zstd")
    listed = subprocess.run(["tar", "--zstd", "-tf", str(three / "a.tar.zst")], capture_output=True, text=True, check=True).stdout.split()
    assert {"stats-dump", "checkpoint/stats-dump"} <= set(listed)


# -- names, and what is there already ------------------------------------------------------------------------------------------------


def test_what_is_there_already_is_used(three: Path) -> None:
    export(Layer(three / "s/1"), three / "one.tar.zst")
    export(Layer(three / "s/2"), three / "two.tar.zst")
    import_archive(three / "one.tar.zst", three / "t", name="base")
    found = import_archive(three / "two.tar.zst", three / "t")
    assert [(it.path.name, it.reused) for it in found.layers] == [("2", False), ("base", True), ("0", True)]
    assert os.readlink(three / "t/2/parent") == "../base"
    assert not check_chain(Layer(three / "t/2"), contents=True)
    before = content_of(three / "t")
    assert all(it.reused for it in import_archive(three / "two.tar.zst", three / "t").layers)
    assert content_of(three / "t") == before


def test_a_layer_alone_goes_where_its_parent_is(three: Path) -> None:
    leaf, parent = Layer(three / "s/2"), Layer(three / "s/1")
    assert leaf.sidecar is not None and parent.sidecar is not None
    replace(leaf.sidecar, parent_id=parent.sidecar.layer_id).store(leaf.directory)  # as a dump records it
    export(parent, three / "one.tar.zst")
    export(leaf, three / "alone.tar.zst", alone=True)
    with pytest.raises(ImageError, match=r"its parent \.\./1 is neither in the archive nor in the stack"):
        import_archive(three / "alone.tar.zst", three / "t")
    assert not (three / "t").exists()
    import_archive(three / "one.tar.zst", three / "t")
    import_archive(three / "alone.tar.zst", three / "t")
    assert not check_chain(Layer(three / "t/2"), contents=True)


def test_names_that_are_taken(three: Path) -> None:
    export(Layer(three / "s/2"), three / "a.tar.zst")
    make(three / "t", "1", Spec({7: {5}}), tag=9)
    before = content_of(three / "t")
    with pytest.raises(ImageError, match="there is something called 1 in .* .--as NAME"):
        import_archive(three / "a.tar.zst", three / "t")
    with pytest.raises(ImageError, match="there is something called 1 in"):
        import_archive(three / "a.tar.zst", three / "t", name="1")
    assert content_of(three / "t") == before
    found = import_archive(three / "a.tar.zst", three / "t", name="mine")
    assert [it.path.name for it in found.layers] == ["mine", "mine.1", "0"]
    assert not check_chain(Layer(three / "t/mine"), contents=True)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/x", ".lamina-trash.x", "x\n"])
def test_what_is_no_name(three: Path, name: str) -> None:
    export(Layer(three / "s/0"), three / "a.tar.zst")
    with pytest.raises(ImageError, match="not a name for a layer"):
        import_archive(three / "a.tar.zst", three / "t", name=name)


def test_podmans_archive_becomes_a_stack(tmp_path: Path) -> None:
    pod = tmp_path / "pod"
    make(pod, "pre-checkpoint", Spec({7: set(range(32))}), tag=1, pre_dump=True)
    make(pod, "checkpoint", Spec({7: {1}}, {7: set(range(10, 20))}), "pre-checkpoint", tag=2)
    for layer in pod.iterdir():
        (layer / "lamina.json").unlink()
    (pod / "config.dump").write_text("{}")
    subprocess.run(["tar", "-czf", str(tmp_path / "web.tar.gz"), "-C", str(pod), "."], check=True)
    found = import_archive(tmp_path / "web.tar.gz", tmp_path / "t")
    assert [it.path.name for it in found.layers] == ["web", "pre-checkpoint"]
    assert not check_chain(Layer(tmp_path / "t/web"), contents=True)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["pre-checkpoint", "web"]


# -- refused -------------------------------------------------------------------------------------------------------------------------


def test_a_broken_layer_is_not_exported(three: Path) -> None:
    os.truncate(three / "s/0/pages-1.img", PAGE)
    with pytest.raises(ImageError, match="cannot export .* it is not whole: .*pages-1.img: shorter than its map says"):
        export(Layer(three / "s/2"), three / "a.tar.zst")
    assert not (three / "a.tar.zst").exists()


def test_a_changed_page_is_not_exported(three: Path) -> None:
    with (three / "s/0/pages-1.img").open("r+b") as file:
        file.write(b"?")
    with pytest.raises(ImageError, match="its content changed since it was written"):
        export(Layer(three / "s/2"), three / "a.tar.zst")
    assert sorted(os.listdir(three)) == ["s"]


def test_nothing_is_overwritten_and_the_archive_is_private(three: Path) -> None:
    export(Layer(three / "s/0"), three / "a.tar.zst")
    assert (three / "a.tar.zst").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ImageError, match="it is there already"):
        export(Layer(three / "s/2"), three / "a.tar.zst")
    with pytest.raises(ImageError, match="cannot write archive .*no such file or directory"):
        export(Layer(three / "s/2"), three / "none/a.tar.zst")


def test_an_archive_with_a_changed_page_is_not_imported(three: Path) -> None:
    export(Layer(three / "s/2"), three / "a.tar.zst")
    need("zstd")
    tar = bytearray(subprocess.run(["zstd", "-dc", str(three / "a.tar.zst")], capture_output=True, check=True).stdout)
    at = tar.index(b"layer 1 pid 7 page 30;")
    tar[at] ^= 1
    (three / "a.tar").write_bytes(tar)
    make(three / "t", "other", Spec({7: {5}}), tag=9)
    before = content_of(three / "t")
    with pytest.raises(ImageError, match="cannot import .* it is not whole: pages-1.img: its content changed since it was written"):
        import_archive(three / "a.tar", three / "t")
    assert content_of(three / "t") == before and sorted(os.listdir(three / "t")) == ["other"]


def test_an_archive_of_somebody_else_is_refused(three: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root, to give a file away")
    export(Layer(three / "s/0"), three / "a.tar.zst")
    os.chown(three / "a.tar.zst", 65534, 65534)
    with pytest.raises(ImageError, match=r"belongs to nobody .--trust"):
        import_archive(three / "a.tar.zst", three / "t")
    assert import_archive(three / "a.tar.zst", three / "t", trust=True).layers


LEADS_OUT = '{"lamina": "export", "version": 1, "layers": [{"place": "checkpoint", "name": "../x"}]}'


@pytest.mark.parametrize("text", ["", "[]", "{", '{"lamina": "export", "version": 2}', LEADS_OUT])
def test_a_manifest_is_not_believed(three: Path, text: str) -> None:
    export(Layer(three / "s/0"), three / "a.tar.zst")
    need("zstd")
    subprocess.run(["tar", "--zstd", "-xf", str(three / "a.tar.zst"), "-C", str(three)], check=True)
    (three / "lamina-export.json").write_text(text)
    subprocess.run(["tar", "-cf", str(three / "b.tar"), "-C", str(three), "lamina-export.json", "checkpoint"], check=True)
    with pytest.raises(ImageError, match="it is not what lamina writes"):
        import_archive(three / "b.tar", three / "t")


def test_somebody_else_at_it(three: Path) -> None:
    export(Layer(three / "s/0"), three / "a.tar.zst")
    (three / "t").mkdir()
    with lock.locked(three / "t"), pytest.raises(BusyError, match="is writing there"):
        import_archive(three / "a.tar.zst", three / "t")
    with lock.locked(three / "s"), pytest.raises(BusyError, match="cannot export from"):
        export(Layer(three / "s/0"), three / "b.tar.zst")


def test_cancelled_nothing_is_left(three: Path) -> None:
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled, match="nothing was changed"):
        export(Layer(three / "s/2"), three / "a.tar.zst", cancel=token)
    export(Layer(three / "s/2"), three / "a.tar.zst")
    with pytest.raises(Cancelled, match="nothing was changed"):
        import_archive(three / "a.tar.zst", three / "t", cancel=token)
    assert sorted(os.listdir(three)) == ["a.tar.zst", "s"]


# -- a lamina that died --------------------------------------------------------------------------------------------------------------


class _Died(BaseException):
    """As if killed."""


def test_an_import_that_was_complete_is_finished_by_the_next_command(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(Layer(three / "s/2"), three / "a.tar.zst")
    with monkeypatch.context() as patched:
        moved: list[Path] = []

        def die(old: Path, new: Path) -> None:
            if len(moved) == 1:
                raise _Died
            old.rename(new)
            moved.append(new)

        patched.setattr(unpack, "rename_new", die)
        patched.setattr(unpack, "rmtree", lambda path: None)  # a dead lamina tidies nothing up
        with pytest.raises(_Died):
            import_archive(three / "a.tar.zst", three / "t")
    assert moved == [three / "t/0"]
    staged = three / "t" / IMPORT
    (staged / COMMITTING).write_text("0\n1\n2")  # what the failing import took back, and a dead one does not
    if (staged / "0").exists():
        (staged / "0").rename(three / "t/0")
    sweep_stack(three / "t")
    assert sorted(os.listdir(three / "t")) == ["0", "1", "2"]
    assert not check_chain(Layer(three / "t/2"), contents=True)


def test_an_import_that_was_not_complete_is_swept(three: Path) -> None:
    export(Layer(three / "s/2"), three / "a.tar.zst")
    left = three / "t" / IMPORT / "0"
    left.mkdir(parents=True)
    (left / "inventory.img").write_bytes(b"half")
    import_archive(three / "a.tar.zst", three / "t")
    assert sorted(os.listdir(three / "t")) == ["0", "1", "2"]


def test_a_name_taken_at_the_last_moment_undoes_all(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(Layer(three / "s/2"), three / "a.tar.zst")
    real = unpack.publish

    def late(staged: Path, names: list[str]) -> None:
        (three / "t/1").mkdir()
        real(staged, names)

    monkeypatch.setattr("lamina.core.archive.importing.publish", late)
    with pytest.raises(ImageError, match="file exists"):
        import_archive(three / "a.tar.zst", three / "t")
    assert sorted(os.listdir(three / "t")) == ["1"]

"""Layers in archives: every format of tar and every compression that tools use, and what an archive must not do."""

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.image.storage import streams
from lamina.core.image.storage.archive import ArchiveStorage
from lamina.core.image.storage.locate import storage_of
from lamina.core.image.storage.seekable import FRAME
from lamina.core.image.trust import untrusted_owner
from tests.live.harness import need, need_for_tar
from tests.unit.image.layers import Spec, make, read_page

FORMATS = [
    "--format=gnu", "--format=gnu -S", "--format=ustar", "--format=v7 --exclude=attach", "--format=posix",
    "--format=posix -S --sparse-version=0.0", "--format=posix -S --sparse-version=0.1", "--format=posix -S --sparse-version=1.0",
]  # fmt: skip
COMPRESSIONS = ["", "--gzip", "--bzip2", "--xz", "--zstd"]
LONG = "a-container-with-a-name-" + "x" * 120


def tar(directory: Path, archive: Path, options: str = "", what: str = ".") -> Path:
    need_for_tar(options)
    subprocess.run(["tar", *options.split(), "-cf", str(archive), "-C", str(directory), what], check=True)
    return archive


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as podman exports one: checkpoint on ../pre-checkpoint, with the files beside them that containers have."""
    path = tmp_path_factory.mktemp("podman")
    make(path, "pre-checkpoint", Spec({7: set(range(32))}), tag=1, pre_dump=True)
    make(path, "checkpoint", Spec({7: {1, 2}}, {7: set(range(10, 20))}), "pre-checkpoint", tag=2)
    (path / "config.dump").write_text("{}")
    (path / "spec.dump").write_text("{}")
    (path / "artifacts").mkdir()
    os.mkfifo(path / "artifacts/attach")
    holes = path / "checkpoint/ghost-file-1.img"
    with holes.open("wb") as file:
        file.write(b"head")
        file.seek(3 * FRAME)
        file.write(b"tail" * 5000)
        file.truncate(5 * FRAME)
    return path


@pytest.mark.parametrize("options", FORMATS)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_reads_what_tar_writes(podman: Path, tmp_path: Path, options: str, compression: str) -> None:
    layer = Layer(tar(podman, tmp_path / "a.tar", f"{options} {compression}"))
    plain = Layer(podman / "checkpoint")
    assert layer.names() == plain.names()
    assert [it.name for it in layer.chain()] == ["checkpoint", "pre-checkpoint"]
    for name in plain.names():
        if name != "parent":
            assert layer.read(name) == plain.read(name), name
    assert layer.info("pages-1.img") is not None and layer.pids == plain.pids
    with layer.open("ghost-file-1.img") as content:
        assert content.pread(6000, 3 * FRAME - 1000) == plain.read("ghost-file-1.img")[3 * FRAME - 1000 :][:6000]
    assert [it.name for it in Stack.open(tmp_path / "a.tar").layers] == ["pre-checkpoint", "checkpoint"]


def test_names_longer_than_a_header_has_room_for(podman: Path, tmp_path: Path) -> None:
    shutil.copytree(podman / "pre-checkpoint", tmp_path / "s" / LONG / "deep" / "pre-checkpoint")
    for options in ("--format=gnu", "--format=posix"):
        archive = tar(tmp_path / "s", tmp_path / "a.tar", options)
        assert Layer(archive / LONG / "deep/pre-checkpoint").is_pre_dump
        assert Layer(archive / "pre-checkpoint").is_pre_dump


def test_a_hard_link_is_the_file_that_came_before_it(podman: Path, tmp_path: Path) -> None:
    subprocess.run(["cp", "-al", str(podman / "pre-checkpoint"), str(tmp_path / "0")], check=True)
    subprocess.run(["cp", "-al", str(podman / "pre-checkpoint"), str(tmp_path / "1")], check=True)
    archive = tar(tmp_path, tmp_path.parent / "a.tar")
    for name in ("0", "1"):
        assert Layer(archive / name).read("pages-1.img") == (podman / "pre-checkpoint/pages-1.img").read_bytes()


def test_pages_through_the_parents_in_an_archive(podman: Path, tmp_path: Path) -> None:
    from lamina.core.image.owners import resolve
    from tests.unit.image.layers import address

    layer, plain = Layer(tar(podman, tmp_path / "a.tgz", "-z")), Layer(podman / "checkpoint")
    for page in (1, 2, 10, 19):
        found = resolve(layer.chain(), 7).of(address(page))
        assert found is not None
        with found[0].open_pages(7) as content:
            assert content.pread(4096, found[1]) == read_page(plain, 7, page)


def test_a_compressed_archive_too_large_for_memory_is_kept_in_a_file(podman: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MEMORY", 1000)
    (podman / "checkpoint/ghost-file-2.img").write_bytes(os.urandom(3 * FRAME))
    layer = Layer(tar(podman, tmp_path / "a.tar.xz", "-J"))
    assert layer.read("ghost-file-2.img") == (podman / "checkpoint/ghost-file-2.img").read_bytes()
    (podman / "checkpoint/ghost-file-2.img").unlink()


def test_an_archive_written_again_is_read_again(podman: Path, tmp_path: Path) -> None:
    first = Layer(tar(podman, tmp_path / "a.tar"))
    assert first.has("pstree.img")
    (tmp_path / "a.tar").unlink()
    tar(podman, tmp_path / "a.tar", "--exclude=./checkpoint")
    assert Layer(tmp_path / "a.tar").name == "pre-checkpoint"
    assert first.read("pstree.img")  # the old one is still open


def test_an_archive_of_a_compressed_layer(tmp_path: Path) -> None:
    from lamina.core.archive.compress import compress

    layer = make(tmp_path / "s", "1", Spec({7: set(range(64))}))
    before = layer.read("pages-1.img")
    compress(layer)
    packed = Layer(tar(tmp_path / "s", tmp_path / "a.tar"))
    assert "pages-1.img" in packed.names()
    assert packed.read("pages-1.img") == before
    info = packed.info("pages-1.img")
    assert info is not None and info.size == len(before)


# -- what is refused -----------------------------------------------------------------------------------------------------------------


def made(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, target: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, target
    return info, data


INVENTORY = member("c/inventory.img", b"....")


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([INVENTORY, member("../etc/passwd")], "leads out of the archive"),
        ([INVENTORY, member("/etc/passwd")], "leads out of the archive"),
        ([INVENTORY, member("c/../../x")], "leads out of the archive"),
        ([INVENTORY, INVENTORY], "is in it twice"),
        ([INVENTORY, member("c/./inventory.img")], "is in it twice"),
        (
            [INVENTORY, member("c/pages-1.img", kind=tarfile.LNKTYPE, target="/etc/shadow")],
            "is a hard link to what is not in the archive",
        ),
        ([INVENTORY, member("c/pages-1.img", kind=tarfile.CHRTYPE)], "is a device, not a file"),
        ([INVENTORY, member("c/pages-1.img", kind=tarfile.FIFOTYPE)], "is a pipe, not a file"),
        ([member("c/pages-1.img", b"x")], "no directory in the archive holds an inventory.img"),
        ([INVENTORY, member("d/inventory.img", b"....")], r"it holds several: a\.tar/c, a\.tar/d"),
    ],
)
def test_refuses_by_name(tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]], why: str) -> None:
    with pytest.raises(ImageError, match=why):
        storage_of(made(tmp_path / "a.tar", *members))


@pytest.mark.parametrize("link", ["/etc", "../../etc", "..", "../../../../../../tmp"])
def test_a_parent_outside_the_archive_is_refused(tmp_path: Path, link: str) -> None:
    (tmp_path / "inventory.img").write_bytes(b"x")
    child = (member("b/inventory.img", b"x"), member("b/parent", kind=tarfile.SYMTYPE, target="../c"))
    storage = storage_of(made(tmp_path / "a.tar", INVENTORY, member("c/x"), *child) / "c")
    with pytest.raises(ImageError, match="not in the archive|does not hold"):
        storage.follow(link)
    assert storage_of(tmp_path / "a.tar/b").follow("../c").key == storage.key


def test_a_symbolic_link_in_the_place_of_an_image_is_not_followed(tmp_path: Path) -> None:
    storage = storage_of(made(tmp_path / "a.tar", INVENTORY, member("c/pages-1.img", kind=tarfile.SYMTYPE, target="/etc/passwd")))
    with pytest.raises(ImageError, match="not a regular file"):
        storage.open("pages-1.img")


@pytest.mark.parametrize("head", [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0", b"", b"\0" * 2000, b"not a tar" * 200])
def test_what_is_no_archive_is_one_clear_line(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "x").write_bytes(head)
    with pytest.raises(ImageError, match=r"cannot read .*x: it is (neither a tar nor a compressed one|cut short|damaged)"):
        Layer(tmp_path / "x")


@pytest.mark.parametrize("options", ["", "-z", "--zstd", "-J", "-j"])
def test_an_archive_cut_short_says_so(podman: Path, tmp_path: Path, options: str) -> None:
    data = tar(podman, tmp_path / "a.tar", options).read_bytes()
    # Behind the last file a tar is only zeros; a compressed one ends where its compression ends.
    (tmp_path / "b.tar").write_bytes(data[: len(data) // 2 if not options else -5])
    with pytest.raises(ImageError, match="cut short|damaged"):
        Layer(tmp_path / "b.tar")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_OF_RATIO", 1 << 20)
    need("zstd")
    zeros = subprocess.run("head -c 256M /dev/zero | zstd -q", shell=True, capture_output=True, check=True).stdout
    (tmp_path / "bomb.tar.zst").write_bytes(zeros)
    with pytest.raises(ImageError, match="too much for a file of"):
        Layer(tmp_path / "bomb.tar.zst")


def test_a_size_that_no_archive_has_is_refused(tmp_path: Path) -> None:
    info, _ = member("c/pages-1.img")
    info.size = 1 << 60
    path = made(tmp_path / "a.tar", INVENTORY)
    block = info.tobuf(tarfile.GNU_FORMAT)
    path.write_bytes(path.read_bytes()[:1024] + block + bytes(1024))
    with pytest.raises(ImageError, match="a size of"):
        storage_of(path)


def test_what_an_archive_says_of_owners_counts_for_nothing(tmp_path: Path) -> None:
    info, data = member("c/inventory.img", b"....")
    info.uid, info.mode = 12345, 0o777
    path = made(tmp_path / "a.tar", (info, data))
    path.chmod(0o600)
    storage = storage_of(path)
    assert isinstance(storage, ArchiveStorage)
    found = storage.info("inventory.img")
    assert found is not None and found.uid == os.geteuid() and found.mode & 0o777 == 0o600


@pytest.mark.parametrize("what", ["pre-checkpoint", "."])
def test_a_layer_in_an_archive_is_trusted_as_far_as_its_file(podman: Path, tmp_path: Path, what: str) -> None:
    archive = tar(podman / what, tmp_path / "a.tar")
    assert untrusted_owner(Layer(archive)) is None
    archive.chmod(0o666)
    assert untrusted_owner(Layer(archive)) == f"{archive} can be written by everybody"

"""What was checked is what is read: owners and modes are those of what was opened, and nobody above can exchange it."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from lamina.core.errors import ImageError, LaminaError, RefusedError
from lamina.core.image.layer import Layer
from lamina.core.image.storage.archive import ArchiveStorage
from lamina.core.image.storage.locate import storage_of
from lamina.core.image.storage.walk import open_directory
from lamina.core.image.trust import held_layer, untrusted_archive
from lamina.core.restore.plan import refuse_damaged
from tests.unit.image.layers import Spec, make

STRANGER = 54321
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A layer and its child, in a directory of two directories."""
    path = tmp_path / "home/S"
    make(path, "1", Spec({7: {1}}))
    make(path, "2", Spec({7: {2}}, {7: {1}}), "1")
    return path


def evil(stack: Path) -> Path:
    """The same with other contents, beside it."""
    other = stack.parent / "evil"
    shutil.copytree(stack, other, symlinks=True)
    for layer in ("1", "2"):
        (other / layer / "fs-7.img").write_bytes(b"evil")
    return other


def refused(path: Path) -> str:
    with pytest.raises(RefusedError) as error, held_layer(path, trust=False):
        pass
    return error.value.blockers[0].obj


@pytest.mark.parametrize("above", ["home", "home/S"])
def test_what_was_opened_is_read_whatever_the_path_leads_to_by_then(stack: Path, tmp_path: Path, above: str) -> None:
    other = evil(stack)
    with held_layer(stack / "2", trust=False) as layer:
        (tmp_path / above).rename(tmp_path / "away")
        shutil.copytree(other if other.exists() else tmp_path / "away/evil", stack, symlinks=True)
        assert layer.fs(7).umask == 0o22
        parent = layer.parent()
        assert parent is not None and parent.fs(7).umask == 0o22
        refuse_damaged(layer, contents=True)
    with pytest.raises(LaminaError):
        Layer(stack / "2").fs(7)


@root_only
def test_a_directory_above_that_somebody_else_owns(stack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(tmp_path / "home", STRANGER, -1)
    assert refused(stack / "2") == f"{tmp_path}/home belongs to user {STRANGER}, who can exchange what is in it"
    with held_layer(stack / "2", trust=True) as layer:
        assert layer.fs(7).umask == 0o22
    monkeypatch.setenv("SUDO_UID", str(STRANGER))
    with held_layer(stack / "2", trust=False):
        pass


def test_a_directory_above_that_many_may_write(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "home").chmod(0o777)
    assert refused(stack / "2") == f"{tmp_path}/home can be written by everybody"
    (tmp_path / "home").chmod(0o1777)
    with held_layer(stack / "2", trust=False):
        pass


@root_only
def test_a_group_that_may_write(stack: Path) -> None:
    os.chown(stack, -1, STRANGER)
    stack.chmod(0o770)
    assert refused(stack / "2") == f"{stack} can be written by group {STRANGER}"
    stack.chmod(0o1770)
    with held_layer(stack / "2", trust=False):
        pass
    os.chown(stack / "1/pages-1.img", -1, STRANGER)
    (stack / "1/pages-1.img").chmod(0o660)
    assert refused(stack / "2") == f"{stack}/1/pages-1.img can be written by group {STRANGER}"


@root_only
def test_a_link_on_the_way_and_an_ancestor_elsewhere(stack: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("home/S")
    with held_layer(tmp_path / "link/2", trust=False) as layer:
        assert str(layer.directory) == str(stack / "2")
    os.lchown(tmp_path / "link", STRANGER, -1)
    assert refused(tmp_path / "link/2").startswith(f"{tmp_path}/link belongs to")
    (tmp_path / "theirs").mkdir()
    (stack / "1").rename(tmp_path / "theirs/1")
    (stack / "2/parent").unlink()
    (stack / "2/parent").symlink_to("../../../theirs/1")
    with held_layer(stack / "2", trust=False) as layer:
        assert [it.name for it in layer.chain()] == ["2", "1"]
    os.chown(tmp_path / "theirs", STRANGER, -1)
    assert refused(stack / "2").startswith(f"{tmp_path}/theirs belongs to")


def test_a_file_that_is_exchanged_after_it_was_looked_at(stack: Path) -> None:
    """In the layer's own directory only its owner can do that; what is opened is looked at all the same."""
    with held_layer(stack / "2", trust=False) as layer:
        (stack / "2/mm-7.img").chmod(0o666)
        with pytest.raises(RefusedError, match="can be written by everybody"):
            layer.mm(7)


def test_a_chain_of_more_layers_than_there_are_descriptors(tmp_path: Path) -> None:
    make(tmp_path, "0", Spec({7: {1}}))
    for number in range(1, 300):
        shutil.copytree(tmp_path / "0", tmp_path / str(number))
        (tmp_path / str(number) / "parent").symlink_to(f"../{number - 1}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 150, limit[1]))
    try:
        with held_layer(tmp_path / "299", trust=False) as layer:
            assert len(layer.chain()) == 300
            refuse_damaged(layer)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_links_that_lead_nowhere_or_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="levels of symbolic links"):
        open_directory(str(tmp_path / "a"))
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        open_directory(str(tmp_path / "file"))
    (tmp_path / "absolute").symlink_to(tmp_path)
    fd = open_directory(str(tmp_path / "absolute/./../" / tmp_path.name / "absolute"))
    assert os.readlink(f"/proc/self/fd/{fd}") == str(tmp_path)
    os.close(fd)


def test_a_directory_that_was_exchanged_before_it_was_held(stack: Path) -> None:
    layer = Layer(stack / "2")
    (stack / "2").rename(stack / "3")
    shutil.copytree(stack / "3", stack / "2", symlinks=True)
    with pytest.raises(ImageError, match="changed or moved meanwhile"):
        layer.storage.hold(lambda _name, _info: None)


def test_descriptors_are_given_back(stack: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with held_layer(stack / "2", trust=False) as layer:
            refuse_damaged(layer)
        (stack / "1").chmod(0o777)
        refused(stack / "2")
        (stack / "1").chmod(0o700)
    del layer
    assert len(os.listdir("/proc/self/fd")) == before


@root_only
def test_an_archive_and_the_directories_above_it(stack: Path, tmp_path: Path) -> None:
    archive = tmp_path / "home/a.tar"
    subprocess.run(["tar", "-C", str(stack), "-cf", str(archive), "1", "2"], check=True)
    storage = storage_of(archive)
    assert isinstance(storage, ArchiveStorage) and untrusted_archive(storage.archive) is None
    os.chown(tmp_path / "home", STRANGER, -1)
    assert untrusted_archive(storage.archive) == f"{tmp_path}/home belongs to user {STRANGER}, who can exchange what is in it"
    os.chown(tmp_path / "home", 0, -1)
    # Another file under its name: the one that was opened is the one that was looked at, and is read.
    archive.rename(tmp_path / "home/b.tar")
    shutil.copy(tmp_path / "home/b.tar", archive)
    os.chown(archive, STRANGER, -1)
    assert untrusted_archive(storage.archive) is None
    again = storage_of(archive)
    assert isinstance(again, ArchiveStorage) and untrusted_archive(again.archive) == f"{archive} belongs to user {STRANGER}"


_EXCHANGING = """
import os, sys
os.setuid(54321)
stack, good, evil = sys.argv[1:]
while os.getppid() != 1:
    for other in (good, evil):
        os.symlink(other, stack + ".new")
        os.rename(stack + ".new", stack)
        print("exchanged", flush=True)
"""


@root_only
def test_somebody_who_exchanges_all_the_time(stack: Path, tmp_path: Path) -> None:
    """A stranger's link leads now to our layers, now to others: 300 times refused, and not once the others are read."""
    other = evil(stack)
    with tempfile.TemporaryDirectory() as directory:  # the stranger can reach it
        theirs = Path(directory)
        os.chown(theirs, STRANGER, -1)
        words = [sys.executable, "-c", _EXCHANGING, str(theirs / "S"), str(stack), str(other)]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as exchanging:
            assert exchanging.stdout is not None
            said = set()
            try:
                for _ in range(300):
                    assert exchanging.stdout.readline() == b"exchanged\n", "they work all the time"
                    try:
                        with held_layer(theirs / "S/2", trust=False):
                            raise AssertionError("it was taken")
                    except LaminaError as error:
                        said.add(type(error))
            finally:
                exchanging.kill()
    assert RefusedError in said

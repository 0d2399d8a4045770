"""A layer appears whole or not at all, whatever happens while it is written."""

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lamina.core.errors import BusyError, ImageError
from lamina.core.image import format as fmt
from lamina.core.image.draft import LayerDraft
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import COMMITTING, DRAFT, sweep, sweep_stack
from lamina.core.image.sidecar import Sidecar, new_layer_id
from lamina.core.verify import check_chain
from tests.unit.image.layers import Spec, inventory, make, write_memory, write_tasks

SPEC = Spec({7: {1, 2, 5}})


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "1").mkdir(mode=0o755)
    return tmp_path / "1"


def fill(draft: LayerDraft) -> None:
    write_memory(draft, 0, SPEC)
    write_tasks(draft, [7])
    draft.put("inventory", fmt.INVENTORY, [inventory()])


def test_a_committed_layer_is_whole_and_private(place: Path) -> None:
    layer = make(place.parent, "1", SPEC)
    assert check_chain(layer, contents=True) == []
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(it.stat().st_mode) for it in place.iterdir()} == {0o600}
    assert DRAFT not in os.listdir(place)
    assert set(layer.sidecar.checksums if layer.sidecar else ()) == set(os.listdir(place)) - {"lamina.json"}


def test_nothing_shows_before_the_commit_and_nothing_stays_after_an_abort(place: Path) -> None:
    with LayerDraft.create(place) as draft:
        fill(draft)
        assert os.listdir(place) == [DRAFT]
        with pytest.raises(ImageError, match="inventory"):
            Layer(place)
    assert os.listdir(place) == []
    assert stat.S_IMODE(place.stat().st_mode) == 0o755


def test_an_exception_of_the_writer_leaves_nothing(place: Path) -> None:
    with pytest.raises(KeyboardInterrupt), LayerDraft.create(place) as draft:
        fill(draft)
        raise KeyboardInterrupt
    assert os.listdir(place) == []


def test_the_parent_link_is_the_text_as_typed(place: Path) -> None:
    make(place.parent, "1", SPEC)
    child = make(place.parent, "2", Spec({7: {1}}, {7: {2, 5}}), "1")
    assert os.readlink(place.parent / "2" / "parent") == "../1" == child.parent_link
    assert [layer.name for layer in child.chain()] == ["2", "1"]


def refused(path: Path, parent: str | None = None, need: int = 0) -> str:
    before = sorted(os.listdir(path)) if path.is_dir() else None
    with pytest.raises(ImageError) as caught:
        LayerDraft.create(path, parent, need)
    assert (sorted(os.listdir(path)) if path.is_dir() else None) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_directories_that_cannot_become_a_layer(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    make(tmp_path, "1", SPEC)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "core-1.img").touch()
    (tmp_path / "2").mkdir()
    assert "no such directory (mkdir -p" in refused(tmp_path / "none")
    assert "not a directory" in refused(file)
    assert "already holds a layer" in refused(tmp_path / "1")
    assert "already holds images (core-1.img)" in refused(tmp_path / "half")
    assert "MiB needed" in refused(tmp_path / "2", need=1 << 60)


def test_parents_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "empty").mkdir()
    for parent in ("../none", "../empty", ".", "", "\0", "x" * 5000):
        assert refused(tmp_path / "1", parent).startswith("cannot use as parent")


def test_two_writers(place: Path) -> None:
    with LayerDraft.create(place) as draft:
        fill(draft)
        with pytest.raises(BusyError, match="another lamina"):
            LayerDraft.create(place)
        assert not sweep(place)
        draft.commit(Sidecar(new_layer_id()))
    assert check_chain(Layer(place), contents=True) == []


def test_a_link_that_a_failed_criu_left_does_not_become_a_parent(place: Path) -> None:
    (place / "parent").symlink_to("../gone")
    assert make(place.parent, "1", SPEC).parent_link is None


CHANGING = ("open", "rename", "fsync", "symlink", "unlink", "rmdir", "mkdir", "fchmod")


def write_and_die(place: Path, calls: int, parent: str | None = "../../0") -> int:
    """Write the layer in a child that is killed before its call number *calls* of those that change a directory; returns its status."""
    child = os.fork()
    if child == 0:
        left = calls

        def dying(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **kwargs: Any) -> Any:
                nonlocal left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return call(*args, **kwargs)

            return wrapped

        try:
            for name in CHANGING:
                setattr(os, name, dying(getattr(os, name)))
            draft = LayerDraft.create(place, parent)
            fill(draft)
            draft.commit(Sidecar(new_layer_id()))
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_killed_between_any_two_system_calls(tmp_path: Path) -> None:
    """Whole or nothing, and the next command sees to it."""
    make(tmp_path, "0", SPEC)
    outcomes: list[bool] = []
    status = -signal.SIGKILL
    while status == -signal.SIGKILL:
        place = tmp_path / f"at-{len(outcomes)}" / "1"
        place.mkdir(parents=True)
        status = write_and_die(place, len(outcomes))
        committed = "inventory.img" in os.listdir(place)
        assert not committed or check_chain(Layer(place), contents=True) == []
        sweep_stack(place.parent)
        if committed:
            assert DRAFT not in os.listdir(place)
            assert check_chain(Layer(place), contents=True) == []
        else:
            assert os.listdir(place) == []
        outcomes.append(committed)
        assert len(outcomes) < 300
    assert status == 0
    assert outcomes == sorted(outcomes)
    assert len(outcomes) > 40
    assert outcomes.count(True) > 2, "some deaths come after the commit"


def test_a_failure_at_any_rename_is_undone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.rename
    for fails_at in range(12):
        left = fails_at

        def rename(*args: Any, **kwargs: Any) -> None:
            nonlocal left
            if left == 0:
                raise OSError(28, "full")
            left -= 1
            real(*args, **kwargs)

        monkeypatch.setattr(os, "rename", rename)
        with pytest.raises(ImageError, match="no space left on device"), LayerDraft.create(place) as draft:
            fill(draft)
            draft.commit(Sidecar(new_layer_id()))
        assert os.listdir(place) == []
        assert stat.S_IMODE(place.stat().st_mode) == 0o755


FULL = """
    import os, sys
    from pathlib import Path
    from lamina.core.errors import ImageError
    from lamina.core.image.draft import LayerDraft
    from lamina.core.image.leftovers import cannot_write
    from tests.unit.image.test_draft import fill

    mount, how = Path(sys.argv[1]), sys.argv[2]
    place = mount / "1"
    if how == "full":
        place.mkdir()
        with LayerDraft.create(place) as draft:
            fill(draft)
            try:
                for number in range(10_000):
                    draft.put_bytes(f"filler-{number}.img", bytes(1 << 16))
            except ImageError as error:
                print(error)
        print(os.listdir(place))
        (mount / "filler").write_bytes(bytes(os.statvfs(mount).f_bavail * os.statvfs(mount).f_frsize - 4096))
    elif how == "read-only":
        place = mount
    try:
        LayerDraft.create(place)
    except ImageError as error:
        print(error)
    print(os.listdir(place))
"""


def in_a_file_system(mount: Path, options: str, how: str) -> list[str]:
    """Run FULL with a tmpfs of its own on *mount*."""
    shell = f'mount -t tmpfs -o {options} none "$1" && exec "$2" -c "$3" "$1" "$4"'
    command = ["unshare", "-Urm", "sh", "-c", shell, "sh", str(mount), sys.executable, textwrap.dedent(FULL), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no private mounts here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_full_file_system_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    during, after, before, empty = in_a_file_system(tmp_path, "size=4m", "full")
    assert during.startswith(f"cannot write layer {tmp_path}/1: no space left on device (free some space")
    assert (after, empty) == ("[]", "[]")
    assert before.startswith(f"cannot write layer {tmp_path}/1: no space left on device")


def test_a_read_only_file_system_is_one_line(tmp_path: Path) -> None:
    line, empty = in_a_file_system(tmp_path, "ro", "read-only")
    assert (line, empty) == (f"cannot write layer {tmp_path}: read-only file system (choose another directory)", "[]")


def test_names_that_are_not_files_of_a_layer(place: Path) -> None:
    with LayerDraft.create(place) as draft:
        for name in ("../x", "/x", "", ".hidden", "parent", "a\nb"):
            with pytest.raises(ValueError, match="not a name"):
                draft.put_bytes(name, b"")


def test_the_next_layer_of_the_stack_sweeps_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    assert write_and_die(tmp_path / "1", 30, None) == -signal.SIGKILL
    assert os.listdir(tmp_path / "1") == [DRAFT]
    make(tmp_path, "2", SPEC)
    assert os.listdir(tmp_path / "1") == []


def test_sweeping_believes_no_list_beyond_plain_names(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    (place / DRAFT).mkdir()
    (place / DRAFT / COMMITTING).write_text("../victim\n/etc/passwd\n..\ncore-1.img")
    (place / "core-1.img").touch()
    assert sweep(place)
    assert victim.exists()
    assert os.listdir(place) == []


def test_sweeping_does_not_follow_a_link(place: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "kept").touch()
    (place / DRAFT).symlink_to(other)
    assert not sweep(place)
    assert os.listdir(other) == ["kept"]

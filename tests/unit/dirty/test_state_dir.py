"""The state directory is shared with other pid namespaces, and anything may lie in it: what is not ours is neither read nor removed."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lamina.core.attach.identity import Identity, boot_id, identify, pid_namespace
from lamina.core.dirty import made, state
from lamina.core.dirty.state import TargetState
from lamina.core.errors import TargetError

HERE = identify(os.getpid())
NESTED = b"[" * 200_000 + b"]" * 200_000


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "run" / "lamina"
    monkeypatch.setenv("LAMINA_STATE_DIR", str(directory))
    state.store(TargetState(HERE, layer_id="one"))
    return directory


def everything(directory: Path) -> dict[str, str]:
    return {path.name: "" if path.is_symlink() or not path.is_file() else path.read_text() for path in directory.iterdir()}


def ours(kind: str, pid: int = 2**22 - 1) -> str:
    return f"{boot_id()[:8]}-{pid_namespace()}-{pid}-1.{kind}"


@pytest.mark.parametrize("name", ["notes.json", "a-b-c.lock", "x.tmp", "x.y.tmp", "..json", "²³-1-2.json", f"{boot_id()[:8]}-1-2.lock"])
@pytest.mark.parametrize("kind", ["file", "nested", "folder", "fifo", "link"])
def test_a_stray_file_is_left_alone(directory: Path, name: str, kind: str) -> None:
    stray = directory / name
    act: dict[str, Callable[[], object]] = {
        "file": lambda: stray.write_text("?"), "nested": lambda: stray.write_bytes(NESTED), "folder": stray.mkdir,
        "fifo": lambda: os.mkfifo(stray), "link": lambda: stray.symlink_to(stray),
    }  # fmt: skip
    act[kind]()
    before = set(os.listdir(directory))
    assert state.forget_ended() == []
    assert [found.layer_id for found in state.all_states()] == ["one"]
    assert set(os.listdir(directory)) == before


@pytest.mark.parametrize("whose", ["this process", "an ended one"])
@pytest.mark.parametrize("kind", ["nested", "endless", "folder", "fifo", "link", "device"])
def test_even_under_a_name_of_ours_nothing_crashes_or_waits(directory: Path, whose: str, kind: str) -> None:
    path = directory / (f"{HERE.key}.json" if whose == "this process" else ours("json"))
    path.unlink(missing_ok=True)
    act: dict[str, Callable[[], object]] = {
        "nested": lambda: path.write_bytes(NESTED),
        "endless": lambda: path.write_text('{"format": 1, "identity": {"pid": Infinity, "start_time": 1, "boot": ""}}'),
        "folder": path.mkdir, "fifo": lambda: os.mkfifo(path), "link": lambda: path.symlink_to(path),
        "device": lambda: path.symlink_to("/dev/zero"),
    }  # fmt: skip
    act[kind]()
    state.forget_ended()
    state.all_states()
    if whose == "this process":
        with pytest.raises(TargetError, match=path.name):
            state.load(HERE)
    with state.lock_target(HERE):
        pass


def test_a_copy_under_another_name_is_no_state(directory: Path) -> None:
    (directory / ours("json", os.getppid())).write_bytes((directory / f"{HERE.key}.json").read_bytes())
    assert [found.identity for found in state.all_states()] == [HERE]


def test_files_of_another_pid_namespace_are_none_of_our_business(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from another one: there no process has the numbers that stand in them."""
    monkeypatch.setattr("lamina.core.attach.identity.pid_namespace", lambda: 1)
    monkeypatch.setattr("lamina.core.dirty.state_dir.pid_namespace", lambda: 1)
    gone = Identity(2**22 - 1, 1, boot_id())
    state.store(TargetState(gone))
    with state.lock_target(gone):
        assert [found.identity for found in state.all_states()] == [gone]
    (directory / f"{gone.key}.lock").touch()
    (directory / f"{gone.key}.{gone.pid}.tmp").touch()
    monkeypatch.undo()
    monkeypatch.setenv("LAMINA_STATE_DIR", str(directory))
    before = everything(directory)
    assert len(before) == 4
    assert state.forget_ended() == []
    assert [found.identity for found in state.all_states()] == [HERE]
    assert everything(directory) == before


def test_what_an_earlier_start_of_the_machine_left_goes(directory: Path) -> None:
    other = "0" * 8 if not boot_id().startswith("0" * 8) else "1" * 8
    for kind in ("json", "lock", "77.tmp"):
        (directory / f"{other}-{pid_namespace() + 1}-{os.getpid()}-{HERE.start_time}.{kind}").touch()
    state.forget_ended()
    assert os.listdir(directory) == [f"{HERE.key}.json"]


def test_a_directory_that_cannot_be_written_is_one_line(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (directory / f"{HERE.key}.{os.getpid()}.tmp").mkdir()
    with pytest.raises(TargetError, match="cannot remember tracked processes in") as told:
        state.store(TargetState(HERE, layer_id="two"))
    assert "set LAMINA_STATE_DIR" in str(told.value)
    found = state.load(HERE)
    assert found
    assert found.layer_id == "one"
    (directory / f"{HERE.key}.lock").mkdir()
    with pytest.raises(TargetError, match="Is a directory"), state.lock_target(HERE):
        pass
    (directory / made._place().name).symlink_to("/dev/full")
    with pytest.raises(TargetError, match="made-"):
        made.note_made(7)
    monkeypatch.setenv("LAMINA_STATE_DIR", "/proc/lamina")
    with pytest.raises(TargetError, match="/proc/lamina"):
        state.store(TargetState(HERE))


def test_the_list_of_what_was_made_does_not_grow(directory: Path) -> None:
    for _ in range(30):
        for ino in (11, 12, 13):
            made.note_made(ino)
    assert made.made() == {11, 12, 13}
    assert len(made._place().read_text().splitlines()) == 3
    for ino in range(1000, 3000):
        made.note_made(ino)
    assert 2999 in made.made()
    assert len(made.made()) <= made._MANY, "none of them is held by any process"


@pytest.mark.parametrize("content", [b"\xff" * 100, NESTED, b"x 1\n", f"{boot_id()} {10**28}\n".encode(), b"1 2 3\n" * 9])
def test_a_damaged_list_is_no_list(directory: Path, content: bytes) -> None:
    made._place().write_bytes(content)
    assert 5 not in made.made()
    made.note_made(5)
    assert made.made() >= {5}

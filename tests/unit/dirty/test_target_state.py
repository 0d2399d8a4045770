"""The state files: what is stored is what is loaded, half a file is never seen, and one lamina works on a target at a time."""

import json
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lamina.core.attach.identity import Identity, identify
from lamina.core.dirty import state
from lamina.core.dirty.state import TargetState
from lamina.core.errors import BusyError, TargetError

HERE = identify(os.getpid())
GONE = Identity(2**22 - 1, 1, HERE.boot)
NUMBERS = st.integers(0, 2**62)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMINA_STATE_DIR", str(tmp_path / "run" / "lamina"))
    return tmp_path / "run" / "lamina"


@given(
    st.builds(
        TargetState, st.builds(Identity, NUMBERS, NUMBERS, st.just(HERE.boot)), st.text(), st.text(), st.booleans(), st.text(),
        NUMBERS, NUMBERS, NUMBERS, NUMBERS,
    )
)  # fmt: skip
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_what_is_stored_is_loaded(stored: TargetState) -> None:
    told = state.store(stored)
    assert told == replace(stored, owner_pid=HERE.pid, owner_start=HERE.start_time)
    assert state.load(stored.identity) == told
    state.forget(stored.identity)
    assert state.load(stored.identity) is None
    state.forget(stored.identity)


def test_the_directory_is_private(directory: Path) -> None:
    state.store(TargetState(HERE))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    directory.chmod(0o755)
    state.all_states()
    assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_of_somebody_else_is_refused(directory: Path) -> None:
    if os.geteuid():
        pytest.skip("needs root to give a directory away")
    directory.mkdir(parents=True)
    os.chown(directory, 12345, 12345)
    with pytest.raises(TargetError, match="belongs to user 12345"):
        state.load(HERE)


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: b"[]",
        lambda raw: raw.replace(b'"format": 1', b'"format": 99'),
        lambda raw: raw.replace(b'"settled": false', b'"settled": "no"'),
        lambda raw: raw.replace(b'"uffd_fd": -1', b'"uffd_fd": null'),
        lambda raw: raw.replace(b'"layer_id"', b'"layer_odd"'),
        lambda raw: raw.replace(b'"start_time"', b'"star_time"'),
    ],
)
def test_a_damaged_file_is_named_and_left_out_of_the_list(directory: Path, damage: "object") -> None:
    state.store(TargetState(HERE))
    path = directory / f"{HERE.key}.json"
    raw = path.read_bytes()
    assert callable(damage)
    assert damage(raw) != raw
    path.write_bytes(damage(raw))
    with pytest.raises(TargetError, match=str(path)):
        state.load(HERE)
    assert state.all_states() == []


def test_another_process_of_the_same_key_is_not_taken(directory: Path) -> None:
    """The key has eight letters of the boot id: two boots may share them."""
    other = replace(HERE, boot=HERE.boot[:8] + "-somewhere-else")
    state.store(TargetState(other))
    assert state.load(HERE) is None
    assert not state.is_running(other)


def test_ended_processes_are_forgotten(directory: Path) -> None:
    state.store(TargetState(HERE))
    state.store(TargetState(GONE))
    with state.lock_target(HERE):
        (directory / f"{GONE.key}.lock").touch()
        (directory / f"{GONE.key}.{GONE.pid}.tmp").touch()
        assert state.forget_ended() == [GONE]
        assert [found.identity for found in state.all_states()] == [HERE]
        assert sorted(path.name for path in directory.iterdir()) == [f"{HERE.key}.json", f"{HERE.key}.lock"]


def test_the_lock_names_its_holder_and_ends_with_it(directory: Path) -> None:
    script = (
        "import os, sys\n"
        "from lamina.core.attach.identity import Identity\n"
        "from lamina.core.dirty.state import lock_target\n"
        "with lock_target(Identity(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", script, str(HERE.pid), str(HERE.start_time), HERE.boot]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"process {holder.pid}"), state.lock_target(HERE):
            pass
        holder.kill()
        holder.wait()
        with state.lock_target(HERE):
            pass
    assert list(directory.glob("*.lock")) == []


def _take_turns(identity: Identity, counter: str) -> None:
    won = 0
    while won < 200:
        try:
            with state.lock_target(identity):
                path = Path(counter)
                path.write_text(str(int(path.read_text()) + 1))
                won += 1
        except BusyError:
            pass


def test_two_at_once_never_both_hold_the_lock(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    spawn = multiprocessing.get_context("spawn")
    both = [spawn.Process(target=_take_turns, args=(HERE, str(counter))) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
        assert process.exitcode == 0
    assert counter.read_text() == "400"


def test_a_reader_never_sees_half_a_state(directory: Path) -> None:
    state.store(TargetState(HERE, layer_id="0" * 4000))
    script = (
        "import sys\n"
        "from lamina.core.attach.identity import Identity\n"
        "from lamina.core.dirty.state import TargetState, store\n"
        "who = Identity(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])\n"
        "for n in range(300): store(TargetState(who, layer_id=str(n % 10) * 4000))\n"
    )
    words = [sys.executable, "-c", script, str(HERE.pid), str(HERE.start_time), HERE.boot]
    with subprocess.Popen(words) as writer:
        while writer.poll() is None:
            found = state.load(HERE)
            assert found
            assert len(set(found.layer_id)) == 1
            assert len(found.layer_id) == 4000
    assert writer.returncode == 0
    assert json.loads((directory / f"{HERE.key}.json").read_bytes())["format"] == 1

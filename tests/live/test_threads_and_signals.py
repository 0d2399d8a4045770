"""What threads hold and wait for at the stop: registers, interrupted system calls, signals, timers. After a dump, and after a restore."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.live.harness import Layers, Reaper, Victim, dump, full, restore, start_c

TIMES = full(20, 2)
CHANGING = ("ticks", "posix_ticks")


def leave_or_end(victim: Victim, layer: Path, last: bool) -> None:
    """Either dump and let it run, or end it with the dump and restore it."""
    dump(victim, layer, last=last)
    if last:
        restore(victim, layer)


SLEPT = {("nanosleep", "ok"), ("nanosleep_abs", "ok")}


@pytest.mark.parametrize("last", [False, True], ids=["left running", "restored"])
def test_registers_of_eight_threads(last: bool, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    for number in range(TIMES):
        victim = start_c(reaper, tmp_path / f"victim{number}", "avx_threads")
        leave_or_end(victim, layers.new(), last)
        answer = victim.ask("release")
        assert answer["wrong"] == [0] * 8, answer
        victim.end()
        tally[f"registers of 8 threads, {answer['wide'] * 8} bits, {'restored' if last else 'left running'}"] += 1


@pytest.mark.parametrize("last", [False, True], ids=["left running", "restored"])
def test_calls_that_were_interrupted_go_on(last: bool, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    for number in range(TIMES):
        victim = start_c(reaper, tmp_path / f"victim{number}", "waiting_threads")
        before = victim.ask()
        assert set(before.values()) == {"waiting"}
        leave_or_end(victim, layers.new(), last)
        after = victim.ask()
        # The sleeps end by themselves on a machine that is slow enough, and see to it that they were not too short.
        ended = {name: how for name, how in after.items() if how != "waiting" and (name, how) not in SLEPT}
        assert not ended, "a wait ended because of the dump"
        answer = victim.ask("wake")
        assert set(answer.values()) == {"ok"}, {name: how for name, how in answer.items() if how != "ok"}
        victim.end()
        tally[f"12 interrupted calls, {'restored' if last else 'left running'}"] += 1


def steady(state: dict[str, Any]) -> dict[str, Any]:
    """*state* without what moves by itself."""
    return {name: value for name, value in state.items() if name not in CHANGING}


@pytest.mark.parametrize("last", [False, True], ids=["left running", "restored"])
def test_signals_and_timers(last: bool, reaper: Reaper, layers: Layers, tmp_path: Path, tally: Counter[str]) -> None:
    for number in range(TIMES):
        victim = start_c(reaper, tmp_path / f"victim{number}", "signals_timers")
        before = victim.ask()
        leave_or_end(victim, layers.new(), last)
        after = victim.ask()
        assert steady(after) == steady(before)
        assert after["off_altstack"] == 0
        for name in CHANGING:
            now = after
            for _ in range(2000):
                if now[name] > after[name]:
                    break
                now = victim.ask()
            assert now[name] > after[name], f"{name} stand still"
        came = victim.ask("unblock")["queued"]
        assert [value for number, value in came if number > 32] == [100, 101, 102]
        assert len([number for number, _ in came if number < 32]) == 1
        victim.end()
        tally[f"signals and timers, {'restored' if last else 'left running'}"] += 1

"""Processes arranged as a tree, filtered and folded."""

import random
import time
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lamina.tui.model.tree import arrange


@dataclass(frozen=True)
class Process:
    pid: int
    ppid: int
    name: str = "x"


FAMILY = [
    Process(1, 0, "init"),
    Process(812, 1, "sshd"),
    Process(4802, 812, "bash"),
    Process(4840, 4802, "vim"),
    Process(4711, 1, "redis-server"),
]


def drawn(rows: list[object]) -> list[str]:
    return [f"{row.branch}{row.pid}" for row in rows]  # type: ignore[attr-defined]


def test_children_stand_below_their_parents_in_the_order_of_their_pids() -> None:
    assert drawn([*arrange(FAMILY)]) == ["1", "├─ 812", "│  └─ 4802", "│     └─ 4840", "└─ 4711"]


def test_a_filter_shows_the_way_to_its_hits() -> None:
    rows = arrange(FAMILY, hits={4840})
    assert drawn([*rows]) == ["1", "└─ 812", "   └─ 4802", "      └─ 4840"]
    assert [row.hit for row in rows] == [False, False, False, True]


def test_folding_counts_what_it_hides() -> None:
    rows = arrange(FAMILY, folded={812})
    assert [(row.pid, row.folded) for row in rows] == [(1, 0), (812, 2), (4711, 0)]


def test_a_process_whose_parent_is_not_to_be_seen_starts_a_tree() -> None:
    assert drawn([*arrange([Process(7, 3), Process(9, 7)])]) == ["7", "└─ 9"]


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 60)), unique_by=lambda pair: pair[0]), st.sets(st.integers(1, 60)))
def test_every_process_outside_a_circle_and_outside_a_fold_is_shown_once(pairs: list[tuple[int, int]], folded: set[int]) -> None:
    processes = [Process(pid, ppid) for pid, ppid in pairs]
    shown = [row.pid for row in arrange(processes, folded=folded)]
    assert len(shown) == len(set(shown))
    assert set(shown) <= {process.pid for process in processes}
    assert {p.pid for p in processes if p.ppid not in {q.pid for q in processes}} <= set(shown)


def test_ten_thousand_processes_in_a_deep_tree_take_a_moment_only() -> None:
    chance = random.Random(4)
    processes = [Process(pid, chance.randrange(max(0, pid - 50), pid)) for pid in range(1, 10_001)]
    began = time.process_time()
    rows = arrange(processes)
    assert len(rows) == 10_000
    assert time.process_time() - began < 1

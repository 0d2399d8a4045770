"""lm_runs_combine: the one pass that PageRuns' set operations are (their meaning is tested against a model in tests/unit/dirty)."""

import os
import time

import numpy as np

from lamina.core.dirty.runs import PAGE, PageRuns
from tests.native.memory_victim import MIB, own_rss


def scattered(seed: int, pages: int) -> PageRuns:
    rng = np.random.default_rng(seed)
    return PageRuns.from_pages(rng.choice(4 * pages, pages, replace=False).astype(np.uint64) * np.uint64(PAGE))


def test_a_frozen_targets_sets_combine_in_no_time() -> None:
    """13,000 scattered runs each way: well under a millisecond, for it happens inside the freeze."""
    a, b = scattered(1, 20000), scattered(2, 20000)
    assert len(a) > 12000
    best = 1.0
    for _ in range(20):
        begin = time.perf_counter()
        a & b
        best = min(best, time.perf_counter() - begin)
    assert best < 0.002


def test_nothing_leaks() -> None:
    a, b = scattered(1, 20000), scattered(2, 20000)
    for _ in range(20):
        assert (a | b) - b == a - b
    fds, rss = len(os.listdir("/proc/self/fd")), own_rss()
    for _ in range(300):
        assert (a | b) - b == a - b
        assert (a & b) | (a - b) == a
    assert len(os.listdir("/proc/self/fd")) == fds
    assert own_rss() - rss < 4 * MIB

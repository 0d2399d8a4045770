"""What it costs that memory is shared: increments of five tasks over one object, in pairs with a program that has as much of its own.

Between two layers 5 % of the pages are written, at random. Reported are the medians of the pairs' ratios, and pages written without need.
"""

import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path

from benches.programs import launch
from tests.live.harness import Reaper, Victim, lamina

TASKS = 5
CHANGED = 0.05


@dataclass(frozen=True)
class SharedRow:
    """One pair of increments; µs and pages.

    Attributes:
        frozen, frozen_private: `frozen_time` of the tasks that share, and of the one that does not.
        written, changed: pages of the layer, and pages that were written since the last.
    """

    frozen: int
    frozen_private: int
    written: int
    changed: int


def run(reaper: Reaper, scratch: Path, mib: int, times: int) -> tuple[str, list[SharedRow]]:
    """Measure. Returns the report and its rows."""
    pages = mib << 8
    victims = {tasks: launch(reaper, scratch / f"shared-victim-{tasks}", mib, tasks) for tasks in (TASKS, 1)}
    parents: dict[int, Path] = {}
    rows = []
    for number in range(times + 2):
        stats = {}
        for tasks, victim in victims.items():
            victim.ask(f"write {int(pages * CHANGED)} {number + 1}", patience=120)
            layer = scratch / f"shared-{tasks}-{number}"
            stats[tasks] = _dump(victim, layer, parents.get(tasks))
            parents[tasks] = layer
        if number > 1:  # the first is a full one, the second pays for memory that the host has not given yet
            changed = _distinct(pages, int(pages * CHANGED), number + 1)
            rows.append(
                SharedRow(stats[TASKS]["frozen_time"], stats[1]["frozen_time"], stats[TASKS]["pages_written"], changed)
            )
    for layer in scratch.glob("shared-*-*"):
        shutil.rmtree(layer)
    ratio = statistics.median(row.frozen / row.frozen_private for row in rows)
    extra = statistics.median((row.written - row.changed) / row.changed for row in rows)
    frozen, private = (statistics.median(values) / 1e3 for values in zip(*((row.frozen, row.frozen_private) for row in rows), strict=True))
    return (
        f"{mib} MiB shared by {TASKS} tasks, {CHANGED:.0%} written between layers, medians of {len(rows)}: frozen {frozen:.1f} ms, "
        f"{ratio:.2f} of {private:.1f} ms for private memory; {extra:+.1%} pages written beyond those that changed"
    ), rows


def _dump(victim: Victim, layer: Path, parent: Path | None) -> dict[str, int]:
    layer.mkdir()
    prev = ("--prev-images-dir", f"../{parent.name}") if parent else ()
    answer = lamina("dump", "-t", victim.pid, "-D", layer, "-R", "--track-mem", "--json", *prev).json
    assert not any("copied whole" in notice for notice in answer["notices"]), answer["notices"]
    stats: dict[str, int] = answer["stats"]
    return stats


def _mix(x: int) -> int:
    """As control.h."""
    mask = (1 << 64) - 1
    x ^= x >> 33
    x = x * 0xFF51AFD7ED558CCD & mask
    x ^= x >> 33
    x = x * 0xC4CEB9FE1A85EC53 & mask
    return x ^ x >> 33


def _distinct(pages: int, count: int, seed: int) -> int:
    """How many pages "write COUNT SEED" of bench_victim.c touches."""
    return len({_mix(seed << 32 | k) % pages for k in range(count)})

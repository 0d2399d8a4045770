"""Random stacks for property tests, and the naive model of what they resolve to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import strategies as st

from lamina.core.image.layer import Layer
from tests.unit.image.layers import Spec, make

PIDS = (7, 8)
# A layer is fsynced file by file; where memory is a file system, hundreds of them take a tenth of the time.
MEMORY = Path("/dev/shm")


@contextmanager
def new_stack() -> Iterator[Path]:
    """An empty directory, in memory if there is one, removed afterwards."""
    with TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None, prefix="lamina-test-") as path:
        yield Path(path)


@dataclass(frozen=True)
class Planned:
    """One layer of a plan: its parent's name and what it holds and inherits."""

    parent: str | None
    spec: Spec
    tag: int


@dataclass
class Plan:
    """A stack to build, parents first."""

    pages: int
    layers: dict[str, Planned] = field(default_factory=dict)

    def known(self, name: str, pid: int) -> set[int]:
        spec = self.layers[name].spec
        return set(spec.own.get(pid, set())) | set(spec.inherited.get(pid, set()))


@st.composite
def plans(draw: st.DrawFn, branches: bool = True) -> Plan:
    """2–5 layers of two tasks over a few pages; a task may be new in a layer; inherited pages are such that the parent has them."""
    plan = Plan(draw(st.integers(4, 12)))
    count = draw(st.integers(2, 5))
    subset = st.sets(st.integers(0, plan.pages - 1))
    for at in range(count):
        names = list(plan.layers)
        parent = None if not names else draw(st.sampled_from(names)) if branches else names[-1]
        own: dict[int, set[int]] = {}
        inherited: dict[int, set[int]] = {}
        for pid in PIDS:
            if pid == PIDS[1] and draw(st.booleans()):
                continue
            own[pid] = draw(subset)
            there = plan.known(parent, pid) - own[pid] if parent else set()
            inherited[pid] = draw(st.sets(st.sampled_from(sorted(there)))) if there else set()
        plan.layers[str(at)] = Planned(parent, Spec(own, inherited), tag=at)
    return plan


def build(stack: Path, plan: Plan) -> dict[str, Layer]:
    return {name: make(stack, name, it.spec, it.parent, tag=it.tag) for name, it in plan.layers.items()}


def resolve_naively(plan: Plan, name: str, pid: int, page: int) -> str | None:
    """The name of the layer that owns a page, one link at a time."""
    it = plan.layers[name]
    if page in it.spec.own.get(pid, set()):
        return name
    if page in it.spec.inherited.get(pid, set()):
        assert it.parent is not None
        return resolve_naively(plan, it.parent, pid, page)
    return None

"""Prune: which layers of a stack to keep, by number, by time and by size; the others are dropped.

A layer is kept if any rule keeps it, as in restic and borg. The size is a limit and not a rule: the oldest layers go, even those that a
rule keeps, until layers and trash fit, and the trash is emptied as far as needed. Pinned layers and the newest layer never go. The head of
a branch has no other protection: it is old or new like any other layer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.image.summary import taken_at
from lamina.core.rewrite.plan import Plan, deepest_first, require_free, with_rewritings
from lamina.core.rewrite.trash import disk_bytes, dropped_at
from lamina.core.rewrite.tree import Key, Node, Tree

WHAT = "cannot prune"


@dataclass(frozen=True)
class Policy:
    """What to keep. At least one of the three is given.

    Attributes:
        keep_last: the newest so many restorable layers.
        keep_every: the newest restorable layer of each period of so many seconds (counted from 1970, UTC).
        max_bytes: the most that layers and trash together may take on disk.
    """

    keep_last: int | None = None
    keep_every: float | None = None
    max_bytes: int | None = None


@dataclass(frozen=True)
class Candidate:
    """One layer as the rules see it.

    Attributes:
        key: tells it from the others; time: of its dump, seconds since 1970.
        pinned: never goes; restorable: counts for the rules.
    """

    key: Key
    time: float
    pinned: bool = False
    restorable: bool = True


@dataclass(frozen=True, eq=False)
class Verdict:
    """What becomes of one layer.

    Attributes:
        layer: as it is; time: of its dump, seconds since 1970; bytes: the disk it takes now.
        kept_by: the rules that keep it; empty if it goes.
        why: why it goes, or "".
        for_good: it is removed at once, without the trash.
    """

    layer: Layer
    time: float
    bytes: int
    kept_by: tuple[str, ...]
    why: str = ""
    for_good: bool = False


@dataclass(frozen=True, eq=False)
class PrunePlan:
    """What pruning would do.

    Attributes:
        plan: the change of the stack.
        verdicts: one for each layer, the newest first.
        bytes_after: what layers and trash will take together.
        over: bytes above the limit that remain although everything goes that may; 0 if it fits.
    """

    plan: Plan
    verdicts: tuple[Verdict, ...]
    bytes_after: int
    over: int


def kept_by(candidates: Iterable[Candidate], policy: Policy) -> dict[Key, tuple[str, ...]]:
    """The rules that keep each layer, apart from the size. If no rule is given, the size alone decides ("max-bytes")."""
    ordered = sorted(candidates, key=lambda it: it.time, reverse=True)
    rules: dict[Key, list[str]] = {it.key: ["pinned"] if it.pinned else [] for it in ordered}
    if ordered:
        rules[ordered[0].key].append("newest")
    points = [it for it in ordered if it.restorable]
    if policy.keep_last is not None:
        for it in points[: policy.keep_last]:
            rules[it.key].append("keep-last")
    if policy.keep_every is not None:
        seen: set[int] = set()
        for it in points:
            period = int(it.time // policy.keep_every)
            if period not in seen:
                seen.add(period)
                rules[it.key].append("keep-every")
    if policy.keep_last is None and policy.keep_every is None:
        for it in ordered:
            rules[it.key].append("max-bytes")
    return {key: tuple(names) for key, names in rules.items()}


def plan_prune(directory: Path, policy: Policy) -> PrunePlan:
    """What pruning the stack in *directory* would do.

    Raises:
        ImageError: it cannot be read, or a layer that stays cannot take what it needs.
    """
    return _plan(policy, Stack.open(directory))


def _plan(policy: Policy, stack: Stack) -> PrunePlan:
    tree = Tree(stack)
    live = [node for node in tree.nodes.values() if tree.here(node) and not node.trashed]
    candidates = {node.layer.key: _candidate(node.layer) for node in live}
    rules = kept_by(candidates.values(), policy)
    sizes = {node.layer.key: disk_bytes(node.layer) for node in tree.nodes.values() if tree.here(node)}
    before = dict(sizes)
    going = [node for node in live if not rules[node.layer.key]]
    why = {node.layer.key: "no rule keeps it" for node in going}
    _drop(tree, going, live, sizes)
    if policy.max_bytes is not None:
        for node in sorted(live, key=lambda node: candidates[node.layer.key].time):
            staying = sum(sizes[it.layer.key] for it in live if it not in going)
            if staying <= policy.max_bytes:
                break
            if node in going or {"pinned", "newest"} & set(rules[node.layer.key]):
                continue
            going.append(node)
            why[node.layer.key] = "does not fit"
            _drop(tree, going, live, sizes)
    require_free(tree, going, WHAT)
    staying = sum(sizes[it.layer.key] for it in live if it not in going)
    trash = [node for node in tree.nodes.values() if node.trashed and tree.here(node)] + going
    gone = _beyond(trash, sizes, None if policy.max_bytes is None else policy.max_bytes - staying)
    left = staying + sum(sizes[node.layer.key] for node in trash if node not in gone)
    plan = Plan(
        WHAT, tree.directory, dropped=deepest_first(going), emptied=deepest_first(node for node in gone if node.trashed),
        removed=deepest_first(node for node in gone if not node.trashed), again=partial(_again, policy),
    )  # fmt: skip
    plan = with_rewritings(tree, plan)
    for_good = {node.layer.key for node in gone}
    verdicts = [
        Verdict(
            node.layer, candidates[key].time, before[key], () if key in why else rules[key], why.get(key, ""), key in for_good,
        )
        for node in sorted(live, key=lambda node: candidates[node.layer.key].time, reverse=True)
        for key in (node.layer.key,)
    ]  # fmt: skip
    return PrunePlan(plan, tuple(verdicts), left, max(0, left - policy.max_bytes) if policy.max_bytes is not None else 0)


def _again(policy: Policy, stack: Stack) -> Plan:
    return _plan(policy, stack).plan


def _candidate(layer: Layer) -> Candidate:
    sidecar = layer.sidecar
    return Candidate(
        layer.key, taken_at(layer), bool(sidecar and sidecar.pinned), not layer.is_pre_dump and (not sidecar or sidecar.restorable)
    )


def _drop(tree: Tree, going: Iterable[Node], live: Iterable[Node], sizes: dict[Key, int]) -> None:
    """`Tree.drop`; adds to *sizes* what the layers that stay take over."""
    away = list(going)
    staying = [node for node in live if node not in away]
    before = [_own_bytes(node) for node in staying]
    tree.drop(away)
    for node, was in zip(staying, before, strict=True):
        sizes[node.layer.key] += _own_bytes(node) - was


def _own_bytes(node: Node) -> int:
    return sum(runs.bytes for runs in node.own.values()) - sum(node.layer.pagemap(which).present.bytes for which in node.own)


def _beyond(trash: list[Node], sizes: Mapping[Key, int], room: int | None) -> list[Node]:
    """Layers of the trash that must be removed so that the rest fits into *room* bytes: the oldest without children."""
    left = list(trash)
    gone: list[Node] = []
    while room is not None and left and sum(sizes[node.layer.key] for node in left) > room:
        keys = {node.parent for node in left}
        # What goes now was dropped after all that lies there already.
        free = [node for node in left if node.layer.key not in keys]
        first = min(free, key=lambda node: dropped_at(node.layer) if node.trashed else float("inf"))
        gone.append(first)
        left.remove(first)
    return gone

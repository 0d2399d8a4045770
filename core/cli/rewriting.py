"""squash, drop, undo, trash, prune, pin, unpin, label: the verbs that change which layers a stack has."""

import argparse
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from lamina.core.cli.naming import find_layer, find_range
from lamina.core.cli.output import Output, pages, size, table
from lamina.core.errors import LaminaError, UsageError
from lamina.core.events import CancelToken
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.rewrite.marks import label as set_label
from lamina.core.rewrite.marks import pin as set_pin
from lamina.core.rewrite.marks import unpin as take_pin
from lamina.core.rewrite.plan import Plan, apply
from lamina.core.rewrite.trash import disk_bytes, dropped_at, name_of
from lamina.core.rewrite.undo import entry_name, plan_empty, plan_undo


def drop(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina drop LAYER…`."""
    from lamina.core.rewrite.drop import plan_drop

    layers = [find_layer(argparse.Namespace(stack=args.stack, layer=word)) for word in dict.fromkeys(args.layers)]
    if len({layer.directory.parent for layer in layers}) > 1:
        raise UsageError("cannot drop", "", "these layers lie in several stacks", "drop those of one stack at a time")
    plan = plan_drop(layers)
    names = _names(plan.dropped)
    return _do(plan, args, output, cancel, (f"would drop {names}", f"dropped {names}"))


def squash(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina squash A..B`."""
    from lamina.core.rewrite.squash import plan_squash

    first, last = find_range(args)
    plan = plan_squash(first, last)
    kept = f", kept {_names(plan.kept)}, which others need" if plan.kept else ""
    did = f"{first.name}..{last.name} into {last.name}"
    return _do(plan, args, output, cancel, (f"would squash {did}{kept}", f"squashed {did}{kept}"))


def undo(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina undo [LAYER] [--as NAME]`. What comes back is looked at once more; a layer that is not whole is named."""
    from lamina.core.verify import check_chain

    directory, word = _place_and_word(args)
    plan = plan_undo(directory, word, args.as_name)
    layer, name = plan.back[0]
    place = plan.stack / name
    act = f"{entry_name(layer)} as {place}"
    if args.dry_run:
        return _do(plan, args, output, cancel, (f"would bring back {act}", ""))
    apply(plan, output.listen, cancel)
    found = check_chain(Layer(place))
    why = str(found[0]) if found else ""
    value = _as_json(plan, args, ()) | {"layer": place, "restorable": not found, "why_not": why}
    output.result(value, f"brought back {act}{_costs(plan, False)}" + (f"; it cannot be restored: {why}" if why else ""))
    return 0


def _place_and_word(args: argparse.Namespace) -> tuple[Path, str | None]:
    """The stack, and which of its dropped layers is meant: a name with --stack, a path to where it was, or only the stack."""
    word: str | None = args.layer
    if args.stack is not None:
        return args.stack, word
    if word is None:
        raise UsageError("cannot undo", "", "in which stack?", "lamina undo DIR, DIR/LAYER, or --stack DIR")
    path = Path(word)
    if path.is_dir() and not (path / "inventory.img").exists():
        return path, None
    return path.parent, path.name


def trash(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina trash DIR [--empty [NAME]]`."""
    if args.empty is not None:
        plan = plan_empty(args.dir, args.empty or None)
        what = f"{_names(plan.removed)} for good" if plan.removed else "nothing: the trash is empty"
        return _do(plan, args, output, cancel, (f"would remove {what}", f"removed {what}"))
    if args.dry_run:
        raise UsageError("nothing to do for --dry-run", why="without --empty, trash only lists")
    found = sorted(Stack.open(args.dir).trashed, key=dropped_at, reverse=True)
    rows = [(it, dropped_at(it), disk_bytes(it), it.parent(), it.sidecar) for it in found]
    value = {
        "dir": args.dir,
        "disk_bytes": sum(used for _, _, used, _, _ in rows),
        "layers": [
            {"name": entry_name(it), "path": it.path, "was": name_of(it), "dropped": at, "disk_bytes": used,
             "parent_dir": above.path if above else None, "label": sidecar.label if sidecar else ""}
            for it, at, used, above, sidecar in rows
        ],
    }  # fmt: skip
    body = [
        (entry_name(it), _when(at), size(used), _shown(above), sidecar.label if sidecar else "") for it, at, used, above, sidecar in rows
    ]
    head = ("LAYER", "DROPPED", "ON DISK", "PARENT", "LABEL")
    output.result(value, table(head, body, right=frozenset({2})) if body else f"the trash of {args.dir} is empty")
    return 0


def prune(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina prune DIR --keep-last N --keep-every T --max-bytes B`."""
    from lamina.core.rewrite.prune import Policy, plan_prune

    policy = Policy(args.keep_last, args.keep_every, args.max_bytes)
    if policy == Policy():
        raise UsageError("cannot prune", "", "no rule says what to keep", "give --keep-last, --keep-every or --max-bytes")
    pruning = plan_prune(args.dir, policy)
    head = ("LAYER", "TIME", "ON DISK", "")
    body = [
        (it.layer.name, _when(it.time), size(it.bytes), f"stays: {', '.join(it.kept_by)}" if it.kept_by else f"goes: {_fate(it)}")
        for it in pruning.verdicts
    ]
    verdicts = [
        {"layer": it.layer.path, "time": it.time, "bytes": it.bytes, "kept_by": it.kept_by, "why": it.why, "for_good": it.for_good}
        for it in pruning.verdicts
    ]
    more = {"layers": verdicts, "bytes_after": pruning.bytes_after, "over": pruning.over}
    stay = sum(bool(it.kept_by) for it in pruning.verdicts)
    gone = f", {len(pruning.plan.emptied)} out of the trash for good" if pruning.plan.emptied else ""
    what = f"{len(pruning.plan.dropped)} of {len(pruning.verdicts)} layers go, {stay} stay{gone}"
    if pruning.over:
        what += f"; still {size(pruning.over)} too much, but what is left is pinned or the newest"
    lead = table(head, body, right=frozenset({2})) + "\n" if body else ""
    return _do(pruning.plan, args, output, cancel, (f"{lead}would prune {args.dir}: {what}", f"{lead}pruned {args.dir}: {what}"), more)


def _fate(verdict: Any) -> str:
    return f"{verdict.why}, {'for good' if verdict.for_good else 'to the trash'}"


def pin(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina pin LAYER [REASON]`."""
    layer = find_layer(args)
    set_pin(layer, args.reason)
    because = f": {args.reason}" if args.reason else ""
    output.result({"layer": layer.path, "pinned": True, "reason": args.reason}, f"{layer.path} is pinned{because}")
    return 0


def unpin(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina unpin LAYER`."""
    layer = find_layer(args)
    was = layer.sidecar is not None and layer.sidecar.pinned
    take_pin(layer)
    said = "is no longer pinned" if was else "was not pinned"
    output.result({"layer": layer.path, "pinned": False, "was_pinned": was}, f"{layer.path} {said}")
    return 0


def label(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina label LAYER TEXT`; an empty text takes it away."""
    layer = find_layer(args)
    set_label(layer, args.text)
    output.result({"layer": layer.path, "label": args.text}, f"{layer.path} {f'is called {args.text}' if args.text else 'has no label'}")
    return 0


# -- what all have in common -------------------------------------------------------------------------------------------------------------


def _do(
    plan: Plan,
    args: argparse.Namespace,
    output: Output,
    cancel: CancelToken,
    text: tuple[str, str],
    more: dict[str, Any] | None = None,
) -> int:
    """Apply *plan* unless it is a dry run, and say what it does or did."""
    value = _as_json(plan, args, _tracked((*plan.dropped, *plan.removed))) | (more or {})
    costs = _costs(plan, args.dry_run)
    if not args.dry_run:
        apply(plan, output.listen, cancel)
    output.result(value, text[not args.dry_run] + costs)
    if value["tracked"] and not output.json:
        pids = ", ".join(map(str, value["tracked"]))
        output.note(
            f"the writes of process {pids} are counted from a layer that {'would go' if args.dry_run else 'went'}: its next dump is full"
        )
    return 0


def _costs(plan: Plan, dry: bool) -> str:
    parts = []
    if plan.rewritings:
        takers = _names(it.layer for it in plan.rewritings)
        one = len(plan.rewritings) == 1
        verb = ("would take" if dry else "took") if plan.pages else ("would stand" if dry else "stand" + ("s" if one else ""))
        took = f"{pages(plan.pages)}, {size(plan.bytes_copied)} copied" if plan.pages else "on what stays, nothing copied"
        parts.append(f"{takers} {verb} {took}")
    if plan.dropped or plan.removed or plan.emptied:
        freed, trashed = plan.bytes_freed, plan.bytes_trashed
        if trashed:
            once = f"; {_freed(freed)} once the trash is emptied"
            parts.append(f"{size(trashed)} {'would go' if dry else 'went'} to the trash{once}")
        else:
            parts.append(_freed(freed) + ("" if dry else " now"))
        if dry:
            parts.append("no layer that stays loses anything")
    return "".join(f"; {part}" for part in parts)


def _freed(count: int) -> str:
    return f"{size(count)} free" if count >= 0 else f"{size(-count)} more in use"


def _as_json(plan: Plan, args: argparse.Namespace, tracked: Sequence[int]) -> dict[str, Any]:
    return {
        "dry_run": args.dry_run,
        "stack": plan.stack,
        "dropped": [it.path for it in plan.dropped if it not in plan.removed],
        "removed": [it.path for it in (*plan.emptied, *plan.removed)],
        "kept": [it.path for it in plan.kept],
        "rewritten": [
            {"layer": it.layer.path, "parent": it.parent.path if it.parent else None, "pages": it.pages,
             "bytes_copied": it.copied, "bytes_grown": it.grown}
            for it in plan.rewritings
        ],
        "losing": [],
        "pages": plan.pages,
        "bytes_copied": plan.bytes_copied,
        "bytes_trashed": plan.bytes_trashed,
        "bytes_freed": plan.bytes_freed,
        "tracked": tracked,
    }  # fmt: skip


def _tracked(layers: Iterable[Layer]) -> list[int]:
    """Running processes whose writes are counted from one of *layers*."""
    from lamina.core.dirty.state import all_states, is_running

    try:
        ids = {it.sidecar.layer_id for it in layers if it.sidecar is not None}
        return [state.identity.pid for state in all_states() if state.layer_id in ids and is_running(state.identity)] if ids else []
    except (LaminaError, OSError):
        return []  # nothing is known of processes here, and the stack can be changed without


def _names(layers: Iterable[Layer]) -> str:
    return ", ".join(sorted((_shown(it) for it in layers), key=lambda name: (len(name), name)))


def _shown(layer: Layer | None) -> str:
    return "-" if layer is None else entry_name(layer)


def _when(time: float) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M:%S") if time else "?"

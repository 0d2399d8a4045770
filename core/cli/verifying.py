"""verify, relink: whether layers can be relied on, and mending the links between them."""

import argparse
import os
from pathlib import Path
from typing import Any

from lamina.core.cli.naming import find_layer
from lamina.core.cli.output import Output, duration, size, table
from lamina.core.errors import EXIT_FAILED
from lamina.core.events import CancelToken
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.verify import Report, State, verify_layer, verify_stack
from lamina.core.verify.findings import Finding, Severity
from lamina.core.verify.reports import Verified


def verify(args: argparse.Namespace, output: Output, cancel: CancelToken) -> int:
    """`lamina verify LAYER|DIR [--fast]`. Exit status 1 if a layer is not whole, or cannot be restored."""
    stack = _stack(args)
    if stack is not None:
        found = verify_stack(stack, not args.fast, output.listen, cancel)
    else:
        found = verify_layer(find_layer(args), not args.fast, output.listen, cancel)
    value = {
        "path": stack.path if stack else found.reports[0].layer,
        "whole": found.whole,
        "layers": [_as_json(report) for report in found.reports],
        "contents": not args.fast,
        "bytes_read": found.bytes_read,
        "elapsed_us": found.elapsed_us,
    }
    output.result(value, "" if output.json else _as_text(stack, found))
    return 0 if found.whole else EXIT_FAILED


def _stack(args: argparse.Namespace) -> Stack | None:
    """The stack that is meant, if it is one: a directory without images of its own."""
    path = Path(args.layer)
    if args.stack is not None or not path.is_dir():
        return None
    if any(name.endswith(".img") or name == "lamina.json" for name in os.listdir(path)):
        return None
    return Stack.open(path)


def _as_json(report: Report) -> dict[str, Any]:
    return {
        "layer": report.layer,
        "name": report.name,
        "state": report.state.value,
        "restorable": report.state is State.RESTORABLE,
        "why": report.why,
        "trashed": report.trashed,
        "findings": [
            {"severity": str(it.severity), "layer": it.layer, "file": it.file, "why": it.why, "fix": it.fix} for it in report.findings
        ],
    }


def _as_text(stack: Stack | None, found: Verified) -> str:
    lines: list[str] = []
    if stack is None:
        report = found.reports[0]
        lines.append(f"{report.layer}: {_verdict(report)}")
        lines += [_finding(it, report.layer.parent) for it in report.findings]
    elif found.reports:
        lines.append(table(("LAYER", "VERDICT"), [(_name(report, stack), _verdict(report)) for report in found.reports]))
        # What lies in an ancestor is listed there.
        own = [it for report in found.reports for it in report.findings if it.layer == report.layer]
        lines += [_finding(it, stack.path.resolve()) for it in own if it.severity > Severity.NOTICE]
        lines += _notices([it for it in own if it.severity is Severity.NOTICE], stack.path.resolve())
    if not found.reports:
        return f"no layers under {stack.path if stack else ''}"
    count = len(found.reports)
    rate = f", {size(found.bytes_read)} read at {size(found.bytes_read * 1e6 / max(found.elapsed_us, 1))}/s" if found.bytes_read else ""
    lines.append(f"{count} layer{'s' if count > 1 else ''} checked in {duration(found.elapsed_us)}{rate}")
    return "\n".join(lines)


def _notices(found: list[Finding], base: Path) -> list[str]:
    """One line for all layers of which there is the same to say."""
    layers: dict[str, list[Finding]] = {}
    for finding in found:
        layers.setdefault(finding.why, []).append(finding)
    return [
        _finding(same[0], base) if len(same) == 1 else f"notice: {', '.join(dict.fromkeys(it.layer.name for it in same))}: {why}"
        for why, same in layers.items()
    ]


def _name(report: Report, stack: Stack) -> str:
    return report.name if report.layer.parent == stack.path.resolve() else str(report.layer)


def _verdict(report: Report) -> str:
    verdict = f"{report.state.value}: {report.why}" if report.why else report.state.value
    return f"{verdict} (in the trash)" if report.trashed else verdict


def _finding(finding: Finding, base: Path) -> str:
    text = str(finding)
    return f"{finding.severity}: {text.removeprefix(f'{base}/')}"


def relink(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina relink LAYER [--to PARENT] [--search DIR] [--dry-run]`."""
    from lamina.core.rewrite.relink import apply_relink, plan_relink

    # A layer whose parent is gone is not among those that a stack can find by name.
    inside = args.stack / args.layer if args.stack is not None else Path(args.layer)
    plan = plan_relink(Layer(inside) if inside.is_dir() else find_layer(args), args.to, args.search)
    if plan.needed and not args.dry_run:
        apply_relink(plan)
    value = {
        "layer": plan.layer.path, "parent": plan.parent.path, "link": plan.link, "before": plan.before, "because": plan.because,
        "changed": plan.needed and not args.dry_run, "dry_run": args.dry_run, "still": plan.still,
    }  # fmt: skip
    if not plan.needed:
        text = f"{plan.layer.path}: its parent is {plan.parent.path}, as its link says"
    else:
        did = "would be linked" if args.dry_run else "is linked"
        text = f"{plan.layer.path} {did} to {plan.link} (before: {plan.before or 'nothing'}): {plan.because}"
    output.result(value, text + (f"\nbut {plan.still}" if plan.still else ""))
    return 0

"""What `lamina verify` answers: for each layer, whether it can be restored, and why not."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lamina.core.errors import ImageError, in_one_line
from lamina.core.events import CancelToken, Listener, Meter, ignore
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import TRASH
from lamina.core.image.stack import Stack
from lamina.core.verify.chain import Checker, elsewhere
from lamina.core.verify.findings import Finding
from lamina.core.verify.page_files import pages_files


class State(StrEnum):
    """What can be done with a layer."""

    RESTORABLE = "restorable"
    AT_REST = "at rest"  # whole; compressed or in an archive, so to be expanded or imported first
    UNSUPPORTED = "not supported"  # whole, and a restore of ours cannot put all of it back; criu may
    MEMORY_ONLY = "memory only"  # a pre-dump that is whole: a parent for others
    ELSEWHERE = "pages elsewhere"  # whole; its pages, or some it needs, are at a page server
    BROKEN = "not restorable"


@dataclass(frozen=True)
class Report:
    """What was found out about one layer.

    Attributes:
        layer: its directory.
        name: what to call it.
        state: what can be done with it.
        why: the reason, if it cannot be restored as it lies there; else "".
        findings: everything, what matters most first; what stops a restore may lie in an ancestor.
        trashed: it is in the trash of its stack.
    """

    layer: Path
    name: str
    state: State
    why: str
    findings: tuple[Finding, ...]
    trashed: bool = False

    @property
    def whole(self) -> bool:
        """Nothing of it is missing or damaged."""
        return self.state is not State.BROKEN


@dataclass(frozen=True)
class Verified:
    """The answer about one layer or a stack.

    Attributes:
        reports: one for each layer, ancestors before descendants.
        bytes_read: of the contents; 0 without them.
        elapsed_us: µs the check took.
    """

    reports: tuple[Report, ...]
    bytes_read: int
    elapsed_us: int

    @property
    def whole(self) -> bool:
        """Every layer that is not in the trash is."""
        return all(report.whole for report in self.reports if not report.trashed)


def verify_layer(layer: Layer, contents: bool = True, listener: Listener = ignore, cancel: CancelToken | None = None) -> Verified:
    """Check one layer and what it needs of its ancestors.

    Raises:
        Cancelled: as asked.
    """
    try:
        chain: tuple[Layer, ...] = layer.chain()
    except ImageError:
        chain = (layer,)
    return _verify([layer], chain, contents, listener, cancel, f"verify of {layer.path}")


def verify_stack(stack: Stack, contents: bool = True, listener: Listener = ignore, cancel: CancelToken | None = None) -> Verified:
    """Check every layer of a stack, each once: those that cannot be used and those in its trash, too.

    Raises:
        Cancelled: as asked.
    """
    layers = [*stack.layers, *stack.trashed]
    unreadable: list[Report] = []
    for bad in stack.unreadable:
        try:
            layers.append(Layer(bad.path))
        except ImageError as error:
            name = "inventory.img" if "inventory.img" in error.why else ""
            finding = Finding(bad.path, name, "missing" if name else error.why, error.fix)
            dropped = bad.path.name.startswith(TRASH)
            unreadable.append(Report(bad.path, bad.path.name, State.BROKEN, _line(finding, bad.path), (finding,), dropped))
    trashed = {layer.key for layer in layers if layer.name.startswith(TRASH)}
    found = _verify(layers, layers, contents, listener, cancel, f"verify of {stack.path}", trashed)
    return Verified((*found.reports, *unreadable), found.bytes_read, found.elapsed_us)


def _verify(
    asked: Iterable[Layer],
    known: Iterable[Layer],
    contents: bool,
    listener: Listener,
    cancel: CancelToken | None,
    what: str,
    trashed: Iterable[object] = (),
) -> Verified:
    started = time.monotonic_ns()
    known = list(known)
    meter = Meter("verify", listener, cancel, what) if contents else None
    if meter:
        for layer in known:
            meter.expect(sum(info.size for name in pages_files(layer) if (info := layer.info(name))))
    checker = Checker(meter, known)
    dropped = set(trashed)
    reports = []
    for layer in asked:
        if cancel:
            cancel.check(what)
        reports.append(_report(layer, checker.check(layer), layer.key in dropped))
    return Verified(tuple(reports), meter.done if meter else 0, (time.monotonic_ns() - started) // 1000)


def _report(layer: Layer, found: list[Finding], trashed: bool) -> Report:
    state, why = State.RESTORABLE, ""
    if found and found[0].refused:
        state, why = State.BROKEN if found[0].stops else State.UNSUPPORTED, _line(found[0], layer.directory)
        more = sum(it.severity == found[0].severity for it in found) - 1
        why += f" (and {more} more)" if more else ""
    elif layer.is_pre_dump:
        state, why = State.MEMORY_ONLY, layer.memory_only.partition(": ")[2]
    elif (away := elsewhere(layer)) is not None:
        state, why = State.ELSEWHERE, away.why
    elif (resting := at_rest(layer)) is not None:
        state, why = State.AT_REST, f"{resting.why} ({resting.fix})"
    return Report(layer.directory, layer.name, state, why, tuple(found), trashed)


def at_rest(layer: Layer) -> ImageError | None:
    """Why *layer* must be expanded or imported before it can be restored: it or an ancestor is compressed or in an archive."""
    for member in layer.chain():
        try:
            member.require_writable("cannot restore")
        except ImageError as error:
            return error
    return None


def _line(finding: Finding, directory: Path) -> str:
    place = "" if finding.layer == directory else f"ancestor {finding.layer.name}: "
    fix = f" ({finding.fix})" if finding.fix else ""
    return in_one_line(f"{place}{f'{finding.file}: ' if finding.file else ''}{finding.why}{fix}")

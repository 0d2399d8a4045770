"""Operations that verify layers, and that correct a `parent` link."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.events import Notice
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import layer_command_lines as commands
from lamina.tui.operations.proposal import Proposal
from lamina.tui.operations.stack_changes import Ask, dry_run

if TYPE_CHECKING:
    from lamina.core.rewrite.relink import Relinking
    from lamina.core.verify.reports import Verified
    from lamina.tui.read.stack_reader import StackReader


def verify(row: LayerRow, stacks: "StackReader") -> Operation:
    """Compare all bytes of the layer, and those that it needs of its ancestors, with the checksums."""
    return _verify(f"verify layer {row.name}", row.path, lambda work: stacks.verify(row.path, work.listen, work.cancel))


def verify_stack(stack: Path, stacks: "StackReader") -> Operation:
    """The same for every layer of *stack*."""
    return _verify(f"verify stack {stack.name}", stack, lambda work: stacks.verify_all(stack, work.listen, work.cancel))


def _verify(title: str, place: Path, check: "Callable[[Work], Verified]") -> Operation:
    def run(work: Work) -> "Verified":
        work.announce(commands.verify_line(place))
        found = check(work)
        for report in found.reports:
            if not report.whole and not report.trashed:
                work.listen(Notice(f"layer {report.name}: {report.why}"))
        return found

    return Operation("verify", title, run, _verdict)


def _verdict(found: "Verified") -> str:
    bad = sum(not report.whole for report in found.reports)
    count = len(found.reports)
    read = f"{units.size(found.bytes_read)} read in {units.duration(found.elapsed_us)}"
    if count == 1:
        return f"{found.reports[0].state.value}; {read}"
    return f"{f'{bad} of {count} layers are not whole' if bad else f'all {count} layers are whole'}; {read}"


def plan_relink(row: LayerRow, place: Path | None, then: Ask) -> Operation:
    """Find the parent of a layer whose link is broken; *place* is the parent's directory, or an additional one to search."""
    to = place if place is not None and (place / "inventory.img").exists() else None
    search = [place] if place is not None and to is None else []

    def make(_work: Work) -> Proposal:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.relink import plan_relink as plan

        found = plan(Layer(row.path), to, search)
        if not found.needed:
            still = f"; but {found.still}" if found.still else ""
            return Proposal(found, (), f"its link leads to {found.parent.name}, as it should{still}", nothing=True)
        lines = [
            f"{found.parent.path} is its parent: {found.because}.",
            f"Its link said {found.before or 'nothing'}; it will say {found.link}.",
        ]
        if found.still:
            lines.append(f"Farther up it stays broken: {found.still}")
        return Proposal(found, tuple(lines), f"its parent is {found.parent.name}")

    return dry_run(f"relink layer {row.name}", commands.relink_line(row.path, to, search, dry_run=True), make, then)


def relink(row: LayerRow, proposal: Proposal) -> Operation:
    """Write the link that was found."""

    def run(work: Work) -> "Relinking":
        from lamina.core.rewrite.relink import apply_relink

        plan: Relinking = proposal.plan
        work.announce(commands.relink_line(row.path, plan.parent.path))
        apply_relink(plan)
        return plan

    return Operation("relink", f"relink layer {row.name}", run, lambda plan: f"its parent is {plan.parent.name} again")

"""Operations that change which layers a stack has: first a dry run that makes a proposal, then carrying it out."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.events import Notice
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import layer_command_lines as commands
from lamina.tui.operations.proposal import Proposal, propose, said, sentence

if TYPE_CHECKING:
    from lamina.core.rewrite.prune import PrunePlan

Ask = Callable[[Proposal], None]


def dry_run(title: str, command: str, make: "Callable[[Work], Proposal]", then: Ask) -> Operation:
    """Find out what an operation would do, and *then* ask."""

    def run(work: Work) -> Proposal:
        work.announce(command)
        return make(work)

    return Operation("plan", f"{title}, dry run", run, lambda found: found.summary, then=then)


def carry_out(kind: str, title: str, command: str, proposal: Proposal, done: str) -> Operation:
    """Carry out the proposal; refused if the stack has changed meanwhile. *done* is what to say afterwards."""

    def run(work: Work) -> str:
        from lamina.core.rewrite.plan import apply

        work.announce(command)
        apply(proposal.plan, work.listen, work.cancel)
        return done

    return Operation(kind, title, run, lambda said: said)


def plan_drop(row: LayerRow, then: Ask) -> Operation:
    """What dropping the layer would do."""

    def make(_work: Work) -> Proposal:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.drop import plan_drop as plan

        return propose(plan([Layer(row.path)]))

    return dry_run(f"drop layer {row.name}", commands.drop_line(row.path, dry_run=True), make, then)


def plan_squash(first: LayerRow, last: LayerRow, then: Ask) -> Operation:
    """What squashing the layers from *first* to *last* into *last* would do."""

    def make(_work: Work) -> Proposal:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.squash import plan_squash as plan

        found = plan(Layer(first.path), Layer(last.path))
        stays = [f"{sentence(said(found.kept))} stays as it is: others need it."] if found.kept else []
        verb = "goes" if len(found.dropped) == 1 else "go"
        goes = [f"Only {last.name} stays of {first.name} to {last.name}; {said(found.dropped)} {verb}."] if found.dropped else []
        return propose(found, *goes, *stays)

    title = f"squash layers {first.name}..{last.name}"
    return dry_run(title, commands.squash_line(first.path, last.path, dry_run=True), make, then)


def undo(stack: Path, name: str, then: Callable[[Path], None]) -> Operation:
    """Bring the dropped layer *name* of *stack* back, the one dropped last if it is "". *then* is called with its path."""

    def run(work: Work) -> Path:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.plan import apply
        from lamina.core.rewrite.undo import plan_undo
        from lamina.core.verify import check_chain

        work.announce(commands.undo_line(stack, name))
        plan = plan_undo(stack, name or None)
        apply(plan, work.listen, work.cancel)
        place = stack / plan.back[0][1]
        if found := check_chain(Layer(place)):
            work.listen(Notice(f"layer {place.name} is back; it cannot be restored: {found[0]}"))
        return place

    return Operation(
        "undo",
        f"undo the drop of layer {name}" if name else "undo the last drop",
        run,
        lambda place: f"layer {place.name} is back",
        then=then,
    )


def plan_empty(stack: Path, name: str, then: Ask) -> Operation:
    """What removing the dropped layer *name* (all of them if it is "") for good would do."""

    def make(_work: Work) -> Proposal:
        from lamina.core.rewrite.undo import plan_empty as plan

        found = plan(stack, name or None)
        if not found.removed:
            return Proposal(found, (), "the trash is empty", nothing=True)
        return propose(found, f"{sentence(said(found.removed))} of the trash {'goes' if len(found.removed) == 1 else 'go'} for good.")

    title = f"remove layer {name} of the trash" if name else "empty the trash"
    return dry_run(title, commands.empty_line(stack, name, dry_run=True), make, then)


def plan_prune(stack: Path, rules: tuple[str, str, str], then: Ask) -> Operation:
    """What pruning would do; *rules* as on the command line: keep last, keep every, at most so many bytes, "" for one not given."""

    def make(_work: Work) -> Proposal:
        from lamina.core.cli.options.common import byte_count, seconds
        from lamina.core.rewrite.prune import Policy
        from lamina.core.rewrite.prune import plan_prune as plan

        last, every, most = rules
        policy = Policy(int(last) if last else None, seconds(every) if every else None, byte_count(most) if most else None)
        return _pruning(plan(stack, policy))

    return dry_run(f"prune {stack.name}", commands.prune_line(stack, rules, dry_run=True), make, then)


def _pruning(found: "PrunePlan") -> Proposal:
    going = [it for it in found.verdicts if not it.kept_by]
    staying = [it for it in found.verdicts if it.kept_by]
    lines = [f"{it.layer.name} goes, {units.size(it.bytes)}: {it.why}{', for good' if it.for_good else ''}" for it in going[:6]]
    if len(going) > 6:
        lines.append(f"and {len(going) - 6} more")
    because = ", ".join(f"{it.layer.name} ({', '.join(it.kept_by)})" for it in staying[:6])
    lines.append(f"{len(staying)} stay: {because}{' …' if len(staying) > 6 else ''}")
    if found.plan.emptied:
        lines.append(f"{sentence(said(found.plan.emptied))} of the trash {'goes' if len(found.plan.emptied) == 1 else 'go'} for good.")
    if found.over:
        lines.append(f"Still {units.size(found.over)} too much: what is left is pinned or the newest.")
    if not going and not found.plan.emptied:
        return Proposal(found.plan, tuple(lines), "every layer stays: there is nothing to prune", nothing=True)
    return propose(found.plan, "\n".join(lines))

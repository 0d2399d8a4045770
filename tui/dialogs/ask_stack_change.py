"""Asks before layers are removed: what the dry run found, the command line, and the safe answer first."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.tui.dialogs.choose_layer import ChooseLayer
from lamina.tui.dialogs.confirm import Choice, Confirm
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow, StackView
from lamina.tui.operations import layer_command_lines as commands
from lamina.tui.operations import stack_changes
from lamina.tui.operations.proposal import Proposal
from lamina.tui.services.base_app import BaseApp

if TYPE_CHECKING:
    from lamina.tui.model.operation import Operation


def ask_before(app: BaseApp, title: str, found: Proposal, choice: Choice, operation: "Operation") -> None:
    """Show what a dry run found under *title*; *operation* is done if *choice* is taken."""
    if found.nothing:
        app.notify(f"{title}: {found.summary}")
        return

    def answered(chosen: str | None) -> None:
        if chosen == choice.key:
            app.do(operation)

    # The object by itself, its effects as one block: a low terminal has room for both.
    blocks = [found.lines[0], "\n".join(found.lines[1:])]
    app.push_screen(Confirm(title, [block for block in blocks if block], [Choice("cancel", "Cancel"), choice]), answered)


def ask_drop(app: BaseApp, row: LayerRow, stack: StackView) -> None:
    """Ask before a layer goes to the trash, or, if it is there already, is removed for good."""
    if row.trashed:
        entry = row.path.name.removeprefix(".lamina-trash.")
        app.do(stack_changes.plan_empty(stack.path, entry, lambda found: _show_empty(app, stack.path, entry, found)))
        return
    below = [child.name for child in stack.children(row)]
    noun, verb = ("Layer", "is") if len(below) == 1 else ("Layers", "are")
    based = f"{noun} {', '.join(below)} {verb} based on it." if below else "No layer is based on it."
    first = f"{_described(row)} {based}"

    def show(found: Proposal) -> None:
        command = commands.drop_line(row.path)
        operation = stack_changes.carry_out(
            "drop", f"drop layer {row.name}", command, found, f"layer {row.name} is in the trash: z brings it back"
        )
        found = Proposal(found.plan, (first, *found.lines), found.summary)
        ask_before(app, f"Drop layer {row.name}", found, Choice("drop", "Drop", danger=True, command=command), operation)

    app.do(stack_changes.plan_drop(row, show))


def ask_squash(app: BaseApp, last: LayerRow, ancestors: Sequence[LayerRow], first: LayerRow | None) -> None:
    """Squash from *first* to *last*; which of the *ancestors* is first is asked if it is None."""
    if not ancestors:
        app.notify(f"layer {last.name} has no ancestors: there is nothing to squash into it", severity="warning")
    elif first is not None:
        _squash(app, first, last)
    else:

        def chosen(path: Path | None) -> None:
            row = next((row for row in ancestors if row.path == path), None)
            if row is not None:
                _squash(app, row, last)

        title = f"squash into layer {last.name}, from which layer on?"
        app.push_screen(ChooseLayer(title, ancestors, "all from it to here become one layer"), chosen)


def _squash(app: BaseApp, first: LayerRow, last: LayerRow) -> None:
    def show(found: Proposal) -> None:
        command, did = commands.squash_line(first.path, last.path), f"{first.name}..{last.name}"
        operation = stack_changes.carry_out("squash", f"squash layers {did}", command, found, f"{did} are layer {last.name}")
        ask_before(app, f"Squash layers {did}", found, Choice("squash", "Squash", danger=True, command=command), operation)

    app.do(stack_changes.plan_squash(first, last, show))


def ask_empty(app: BaseApp, stack: Path) -> None:
    """Ask before the whole trash is removed for good."""
    app.do(stack_changes.plan_empty(stack, "", lambda found: _show_empty(app, stack, "", found)))


def _show_empty(app: BaseApp, stack: Path, name: str, found: Proposal) -> None:
    title = f"Remove layer {name} for good" if name else f"Empty the trash of {stack.name}"
    command = commands.empty_line(stack, name)
    operation = stack_changes.carry_out("empty", title[0].lower() + title[1:], command, found, "gone for good")
    ask_before(app, title, found, Choice("remove", "Remove", worst=True, command=command), operation)


def ask_prune(app: BaseApp, stack: Path, rules: tuple[str, str, str]) -> None:
    """Show which layers are kept by *rules* and which are not, and ask."""

    def show(found: Proposal) -> None:
        command = commands.prune_line(stack, rules)
        for_good = bool(found.plan.removed or found.plan.emptied)
        operation = stack_changes.carry_out("prune", f"prune {stack.name}", command, found, "pruned: z brings back what is in the trash")
        ask_before(app, f"Prune {stack.name}", found, Choice("prune", "Prune", danger=True, worst=for_good, command=command), operation)

    app.do(stack_changes.plan_prune(stack, rules, show))


def _described(row: LayerRow) -> str:
    label = f' "{row.label}"' if row.label else ""
    when = f", taken {units.clock(row.time)}" if row.time else ""
    return f"Layer {row.name}{label}{when}: {units.pages(row.own_pages)} pages of its own, {units.size(row.disk_bytes)} on disk."

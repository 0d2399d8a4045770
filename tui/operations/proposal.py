"""The result of a dry run, in words: made in a worker thread, shown by a dialog, and carried out if the user agrees."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lamina.core.errors import LaminaError
from lamina.tui.model import units
from lamina.tui.model.target import known_states

if TYPE_CHECKING:
    from lamina.core.image.layer import Layer
    from lamina.core.rewrite.plan import Plan


@dataclass(frozen=True)
class Proposal:
    """What an operation would do.

    Attributes:
        plan: the engine's own plan, which is applied.
        lines: its effects, in sentences for a dialog.
        summary: the same in a few words, for the journal.
        nothing: there is nothing to do, for the reason in `summary`.
    """

    plan: Any
    lines: tuple[str, ...]
    summary: str
    nothing: bool = False


def propose(plan: "Plan", *first: str) -> Proposal:
    """What a change of a stack would do. *first* says what is removed; the rest says which layers take over pages, and what that costs."""
    lines = [*first]
    if plan.pages:
        takers = [it.layer for it in plan.rewritings if it.pages]
        verb = "takes" if len(takers) == 1 else "take"
        pages = f"{units.pages(plan.pages)} pages" if plan.pages > 1 else "one page"
        lines.append(f"{sentence(said(takers))} first {verb} {pages} of it: {units.size(plan.bytes_copied)} copied.")
    elif plan.rewritings:
        takers, verb = [it.layer for it in plan.rewritings], "gets" if len(plan.rewritings) == 1 else "get"
        lines.append(f"{sentence(said(takers))} then {verb} another parent; nothing is copied.")
    freed, trashed = plan.bytes_freed, plan.bytes_trashed
    if trashed:
        lines.append(f"{units.size(trashed)} go to the trash, z brings it back. {_freed(freed)} once the trash is emptied.")
    elif plan.dropped or plan.removed or plan.emptied:
        lines.append(f"{_freed(freed)} at once. This cannot be undone.")
    if plan.rewritings:
        lines.append("What stays can be restored as before.")
    if pids := _counting_from((*plan.dropped, *plan.removed)):
        lines.append(f"The writes of process {', '.join(map(str, pids))} are counted from it: the next dump is a full one.")
    return Proposal(plan, tuple(lines), f"would free {units.size(freed)}" if freed >= 0 else f"would need {units.size(-freed)} more")


def said(layers: "Iterable[Layer]") -> str:
    """ "layer 3", "layers 3, 4 and 5"; dropped ones by their names in the trash."""
    from lamina.core.rewrite.undo import entry_name

    names = sorted((entry_name(layer) for layer in layers), key=lambda name: (len(name), name))
    if len(names) > 6:
        names = [*names[:5], f"{len(names) - 5} more"]
    last = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
    return f"{'layers' if len(names) > 1 else 'layer'} {last}"


def sentence(text: str) -> str:
    """With a capital letter."""
    return text[:1].upper() + text[1:]


def _freed(count: int) -> str:
    return f"{units.size(count)} are free" if count >= 0 else f"{units.size(-count)} more are in use"


def _counting_from(layers: "Iterable[Layer]") -> list[int]:
    """Running processes whose writes are counted from one of *layers*."""
    from lamina.core.dirty.state import is_running

    try:
        ids = {it.sidecar.layer_id for it in layers if it.sidecar is not None}
        return [state.identity.pid for state in known_states() if state.layer_id in ids and is_running(state.identity)] if ids else []
    except (LaminaError, OSError):
        return []  # nothing is known about processes here, and the stack can be changed without that

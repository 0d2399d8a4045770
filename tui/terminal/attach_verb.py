"""`lamina attach`: lists the programs in terminals of lamina's own, and finds the one that is meant."""

import argparse
import time
from collections.abc import Sequence

from lamina.core.cli.output import Output, table
from lamina.core.errors import TargetError, UsageError
from lamina.core.events import CancelToken
from lamina.tui.terminal.attachment import ShownElsewhereError
from lamina.tui.terminal.holders import HeldTerminal, held_terminals

_NONE = "no program runs in a terminal of lamina's"


def terminals(_args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """`lamina attach` without a program: list them."""
    found = held_terminals()
    now = time.time()
    rows = [(str(held.pid or "-"), held.name, _age(now - held.since), held.state) for held in found]
    head = ("PID", "NAME", "SINCE", "HOW IT GOES")
    output.result({"terminals": found}, table(head, rows, right=frozenset({0})) if rows else f"{_NONE}: lamina run -- COMMAND starts one")
    return 0


def chosen(program: str, take: bool, readonly: bool = False) -> HeldTerminal:
    """The terminal that *program*, a pid or a name, means.

    Raises:
        UsageError: this lamina is *readonly*, but one could type into a terminal that it shows.
        TargetError: there is none, or more than one.
        ShownElsewhereError: another lamina shows it, and *take* is False.
    """
    if readonly:
        raise UsageError(f"cannot attach {program}", why="this lamina is read only")
    found = held_terminals()
    fits = [held for held in found if program in (str(held.pid), held.name)]
    running = [held for held in fits if held.ended is None]
    meant = running if len(running) == 1 else fits
    if not meant:
        raise TargetError("cannot attach", program, _no_such(found), "lamina attach lists them")
    if len(meant) > 1:
        raise TargetError("cannot attach", program, f"that may be {' or '.join(held.label for held in meant)}", "name one by its pid")
    if meant[0].is_around_us:
        raise TargetError("cannot attach", program, "this lamina runs in that terminal")
    if meant[0].lamina and not take:
        raise ShownElsewhereError(meant[0].label, meant[0].lamina)
    return meant[0]


def _no_such(found: Sequence[HeldTerminal]) -> str:
    others = ", ".join(held.label for held in found)
    return f"in terminals of lamina's run {others}" if found else _NONE


def _age(seconds: float) -> str:
    from lamina.tui.model.units import age

    return age(seconds)

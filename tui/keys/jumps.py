"""The commands of the `:` line: one table for running, completing and the help. Actions of keys can be typed by their names, too."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import isawaitable
from pathlib import Path

from lamina.tui.keys.actions import Action, actions_elsewhere, actions_here, perform
from lamina.tui.model.compared import Compared
from lamina.tui.model.units import address_of
from lamina.tui.paths import is_directory, is_there, typed_path
from lamina.tui.services.base_app import BaseApp
from lamina.tui.services.quiet import ACTIONS


class Unclear(Exception):
    """A line that cannot be carried out; the text says why."""


def _nothing(_app: BaseApp) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Jump:
    """One command.

    Attributes:
        names: the full one first.
        argument: as the help shows it, "[DIR]", "" if it takes none; one in brackets may be left out.
        does: a sentence.
        go: does it; raises `Unclear`.
        offers: what the argument may be, as far as that is known.
        completes: the same where it must be searched for; called in a thread with what is typed so far.
    """

    names: tuple[str, ...]
    argument: str
    does: str
    go: Callable[[BaseApp, str], object]
    offers: Callable[[BaseApp], Iterable[str]] = _nothing
    completes: Callable[[str], Iterable[str]] = lambda _typed: ()

    @property
    def usage(self) -> str:
        """ ":stack :s [DIR]"."""
        return " ".join([*(f":{name}" for name in self.names), *([self.argument] if self.argument else [])])


def _show(mode: str) -> Callable[[BaseApp, str], object]:
    return lambda app, _argument: app.action_show(mode)


def _run(action: str) -> Callable[[BaseApp, str], object]:
    return lambda app, _argument: app.run_action(action)


def _to_target(app: BaseApp, argument: str) -> None:
    if argument:
        app.reader.aim(_pid(argument))
    app.action_show("target")


async def _to_process(app: BaseApp, argument: str) -> None:
    pid = _pid(argument)
    await app.show("processes")
    app.reader.aim(pid)
    app.go_to_process(pid)


def _pid(argument: str) -> int:
    if not argument.isdecimal():
        raise Unclear(f"a pid is a number, {argument!r} is none" if argument else "which process? a pid")
    if not is_there(Path("/proc", argument)):
        raise Unclear(f"there is no process {argument}")
    return int(argument)


def _to_stack(app: BaseApp, argument: str) -> None:
    if argument:
        path = typed_path(argument).absolute()
        if not is_directory(path):
            raise Unclear(f"{argument} is no directory")
        app.reader.open_stack(path)
    app.action_show("stack")


def _to_stacks(app: BaseApp, _argument: str) -> None:
    app.reader.find_stacks()


def _directories(typed: str) -> list[str]:
    """Directories whose path begins with *typed*."""
    folder, _, begun = typed.rpartition("/")
    try:
        inside = sorted(entry.name for entry in typed_path(f"{folder}/" if "/" in typed else ".").iterdir() if entry.is_dir())
    except (OSError, ValueError):
        return []
    return [f"{folder}/{name}" if "/" in typed else name for name in inside if name.startswith(begun) and (begun or name[0] != ".")]


async def _to_layer(app: BaseApp, argument: str) -> None:
    names = list(_layers(app))
    if argument not in names:
        raise Unclear(f"there is no layer {argument}" if names else "no stack with layers is open")
    await app.show("stack")
    app.go_to_layer(argument)


def _layers(app: BaseApp) -> Iterable[str]:
    return [row.name for row in app.session.stack.rows] if app.session.stack is not None else []


def _to_difference(app: BaseApp, argument: str) -> None:
    stack, target = app.session.stack, app.session.target
    paths = {row.name: row.path for row in stack.rows} if stack is not None else {}
    names = argument.split()
    if not 1 <= len(names) <= 2:
        raise Unclear("which layers? :diff 2 3, or :diff 2 for layer 2 and what runs")
    for name in names:
        if name not in paths:
            raise Unclear(f"there is no layer {name}")
    if len(names) == 2:
        app.show_difference(Compared(paths[names[0]], paths[names[1]]))
    elif target is not None and target.alive:
        app.show_difference(Compared(paths[names[0]], None, target.pid, target.name))
    else:
        raise Unclear(f"layer {names[0]} and which other one? No program runs")


def _to_address(app: BaseApp, argument: str) -> None:
    address = address_of(argument)
    if address is None:
        raise Unclear(f"{argument!r} is no address: hexadecimal, as 7f12 4400 3000")
    if not app.go_to_address(address):
        raise Unclear(f"nothing on this screen has address {address:x}")


def _to_theme(app: BaseApp, argument: str) -> None:
    # Ours come first: "light" is lamina-light.
    found = [name for name in sorted(app.available_themes, key=lambda name: (not name.startswith("lamina"), len(name))) if argument in name]
    if not argument or not found:
        raise Unclear(f"there is no theme {argument!r}; Tab lists them" if argument else "which theme? Tab lists them")
    wanted = argument if argument in found else found[0]
    if wanted != app.theme:
        app.theme = wanted
        app.notify(f"theme {wanted}; :write keeps it for the next time", timeout=4)


JUMPS: Sequence[Jump] = (
    Jump(("processes", "proc", "p"), "", "the process tree", _show("processes")),
    Jump(("target", "t"), "[PID]", "the memory of the target, or of another process", _to_target),
    Jump(("stack", "s"), "[DIR]", "the layers of the target, or the stack in a directory", _to_stack, completes=_directories),
    Jump(("image", "i"), "", "what a layer holds, byte by byte", _show("image")),
    Jump(("jobs", "j"), "", "what was done, and the log", _show("jobs")),
    Jump(("terminal", "term"), "", "programs in terminals of lamina's own", _show("terminal")),
    Jump(("pid",), "PID", "to a process in the tree, which becomes the target", _to_process),
    Jump(("layer", "l"), "NAME", "to a layer of the stack", _to_layer, _layers),
    Jump(("diff",), "LAYER [LAYER]", "what differs between two layers, or a layer and what runs", _to_difference, _layers),
    Jump(("open", "stacks"), "", "choose among the stacks there are", _to_stacks),
    Jump(("address", "addr", "a"), "ADDRESS", "to an address in the memory that is shown", _to_address),
    Jump(("theme",), "NAME", "other colours", _to_theme, lambda app: sorted(app.available_themes)),
    Jump(("write", "w"), "", "keep theme and columns as they are now, in the file of settings", _run("app.keep_appearance")),
    Jump(("settings", "config"), "", "the file of settings in $EDITOR", _run("app.edit_settings")),
    Jump(("help", "h"), "", "every key and what the colours mean", _run("app.help")),
    Jump(("quit", "q"), "", "leave lamina", _run("app.leave")),
)


def actions_by_name(app: BaseApp) -> dict[str, Action]:
    """What can be done on this screen and on others, by name. To be called before the line takes the focus."""
    actions = (*actions_elsewhere(app, app.screen), *reversed(actions_here(app.screen)))
    return {action.word: action for action in actions if not action.moves and action.enabled}


def follow(app: BaseApp, line: str, actions: Mapping[str, Action], unclear: Callable[[str], None]) -> None:
    """Carry out *line*, which has no colon and may name one of *actions*. If it cannot be carried out, *unclear* is told why."""

    async def going() -> None:
        try:
            await go(app, line, actions)
        except Unclear as why:
            unclear(str(why))

    app.run_worker(going(), group=ACTIONS)


async def go(app: BaseApp, line: str, actions: Mapping[str, Action]) -> None:
    """Carry out *line*, without its colon. Raises `Unclear`."""
    name, _, argument = line.strip().partition(" ")
    argument = argument.strip()
    found = next((one for one in JUMPS if name in one.names), None)
    if found is None and name not in actions:
        near = [word for word in _words(actions) if word.startswith(name)]
        if len(near) != 1:
            raise Unclear(f"no {name!r} here; " + ("it may be " + ", ".join(near[:4]) if near else "Tab lists what there is, ? tells"))
        name = near[0]
        found = next((one for one in JUMPS if name in one.names), None)
    if argument and (found is None or not found.argument):
        raise Unclear(f":{name} takes nothing more")
    if found is None:
        perform(app, actions[name])
    elif isawaitable(done := found.go(app, argument)):
        await done


async def completions(app: BaseApp, line: str, actions: Mapping[str, Action]) -> list[str]:
    """How *line* can be completed: commands before actions."""
    name, blank, argument = line.lstrip().partition(" ")
    if not blank:
        return [word for word in _words(actions) if word.startswith(name)]
    found = next((one for one in JUMPS if name in one.names), None)
    if found is None:
        return []
    values = [value for value in found.offers(app) if value.startswith(argument)]
    return [f"{name} {value}" for value in (*values, *await asyncio.to_thread(found.completes, argument))]


def _words(actions: Mapping[str, Action]) -> list[str]:
    jumps = [jump.names[0] for jump in JUMPS]
    return jumps + sorted(set(actions).difference(name for jump in JUMPS for name in jump.names))

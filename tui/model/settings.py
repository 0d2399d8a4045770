"""The settings, as values: what each takes and what it is for. Where they come from is in `tui.settings`."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

AUTO = "auto"


@dataclass(frozen=True)
class OwnCommand:
    """A command line of the user's on a key.

    Attributes:
        name: what it is called in the palette and among the keys.
        run: for the shell, with `{pid}`, `{stack}` and `{layer}` for the target, its stack and its last layer.
        key: as in "f8".
    """

    name: str
    run: str
    key: str


@dataclass(frozen=True)
class Settings:
    """All of them; `OPTIONS` says what each takes.

    Attributes:
        theme: a theme's name; None for the one that fits the terminal.
        ascii: write ASCII only; None: as the locale says.
        mouse: use the mouse.
        readonly: change nothing.
        refresh: seconds between two readings of the processes and the target.
        stacks: where stacks go if no directory is given; None for the XDG state directory.
        columns: the columns of the processes, by name; () for the usual ones.
        keys: key, or keys with commas between, for the name of an action, as in "target.dump".
        commands: the user's own.
    """

    theme: str | None = None
    ascii: bool | None = None
    mouse: bool = True
    readonly: bool = False
    refresh: float = 2.0
    stacks: Path | None = None
    columns: tuple[str, ...] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[OwnCommand, ...] = ()


def _switch(value: object) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if isinstance(value, str):
        value = words.get(value.lower())
    if not isinstance(value, bool):
        raise ValueError
    return value


def _switch_or_auto(value: object) -> bool | None:
    return None if value == AUTO else _switch(value)


def _theme(value: object) -> str | None:
    if not isinstance(value, str) or not value:
        raise ValueError
    return None if value == AUTO else value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError
    number = float(value)
    if not math.isfinite(number) or not 0.5 <= number <= 60:
        raise ValueError
    return number


def _directory(value: object) -> Path | None:
    if not isinstance(value, str) or not value:
        raise ValueError
    path = Path(value).expanduser()
    if value != AUTO and not path.is_absolute():
        raise ValueError
    return None if value == AUTO else path


def _names(value: object) -> tuple[str, ...]:
    names = value.replace(",", " ").split() if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise ValueError
    return tuple(names)


def _keys(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(key, str) and key for key in value.values()):
        raise ValueError
    return value


def _commands(value: object) -> tuple[OwnCommand, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(_command(one) for one in value)


def _command(value: object) -> OwnCommand:
    if not isinstance(value, dict) or not all(isinstance(text, str) and text for text in value.values()):
        raise ValueError
    if not {"run", "key"} <= set(value) <= {"name", "run", "key"}:
        raise ValueError
    try:
        value["run"].format(pid="", stack="", layer="")
    except (LookupError, AttributeError) as error:
        raise ValueError from error
    return OwnCommand(value.get("name") or value["run"].split()[0], value["run"], value["key"])


@dataclass(frozen=True)
class Option:
    """One setting.

    Attributes:
        name: in the file; the variable is LAMINA_ and the name in capitals.
        read: turns what TOML or a variable contains into the value; ValueError (or another exception of Python) if that is impossible.
        takes: what is possible, for people.
        sample: the default as TOML.
        about: what it is for.
        variable: it can be set by a variable.
    """

    name: str
    read: Callable[[object], object]
    takes: str
    sample: str
    about: str
    variable: bool = True


_SWITCH = "true or false"
OPTIONS = (
    Option("theme", _theme, '"auto" or a theme\'s name', '"auto"', "lamina, lamina-light, lamina-contrast, lamina-16 or one of Textual's"),
    Option("ascii", _switch_or_auto, 'true, false or "auto"', '"auto"', "write ASCII only; auto: if the locale is not UTF-8"),
    Option("mouse", _switch, _SWITCH, "true", "use the mouse; false leaves it to the terminal, for selecting text"),
    Option("readonly", _switch, _SWITCH, "false", "change nothing"),
    Option("refresh", _seconds, "seconds from 0.5 to 60", "2.0", "seconds between two readings of processes and target"),
    Option("stacks", _directory, '"auto" or an absolute directory', '"auto"', "where the stacks of programs go if no --stack is given"),
    Option("columns", _names, "a list of names of columns", "[]", "of the processes, in this order; [] for the usual ones"),
    Option("keys", _keys, 'a table such as [keys] with "target.dump" = "d,f5"', "{}", "other keys", variable=False),
    Option(
        "commands", _commands, "[[commands]] with run and key, and a name if wanted; in run {pid}, {stack} and {layer}",
        "[]", "commands of your own on a key", variable=False,
    ),
)  # fmt: skip

"""`lamina config`: prints the settings and where each comes from, writes the file of settings, or lists the actions for `[keys]`."""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

from lamina.core.cli.output import Output, table
from lamina.core.errors import LaminaError
from lamina.core.events import CancelToken
from lamina.tui.keys.rebinding import bindings_by_name
from lamina.tui.model.settings import AUTO, OPTIONS, Settings
from lamina.tui.settings.config import USUAL, Configured, configure, system_file, user_file

_HEAD = """\
# lamina's settings. A variable (LAMINA_THEME and so on) wins over this file, an option of the command line over both.
# What is commented out has its default. `lamina config` prints what is in force, `lamina config --keys` the names of actions.
"""
_TAIL = """
# [keys]
# "target.dump" = "d,f5"

# [[commands]]
# name = "gdb"
# key = "f8"
# run = "gdb -p {pid}"
"""


def config(args: argparse.Namespace, output: Output, _cancel: CancelToken) -> int:
    """Run the verb."""
    if args.keys:
        known = bindings_by_name()
        rows = [(name, binding.key, binding.tooltip or binding.description) for name, binding in sorted(known.items())]
        output.result({name: keys for name, keys, _ in rows}, table(("ACT", "KEYS", "WHAT IT DOES"), rows))
        return 0
    configured = configure()
    if args.write:
        file = keep_all()
        output.result({"file": file}, f"written: {file}")
        return 0
    settings, origin = configured.settings, configured.origin
    rows = [(option.name, _toml(getattr(settings, option.name)), origin[option.name]) for option in OPTIONS]
    files = "\n".join(f"{file}{'' if file.exists() else ' (not there)'}" for file in (user_file(), system_file()))
    value = {option.name: {"value": getattr(settings, option.name), "from": origin[option.name]} for option in OPTIONS}
    output.result(value, f"{table(('SETTING', 'VALUE', 'FROM'), rows)}\n\n{files}")
    return 0


def keep_all() -> Path:
    """Write every setting as it is in force into the user's file.

    Raises:
        UsageError: what is there cannot be used. LaminaError: it cannot be written.
    """
    file = user_file()
    _write(file, _as_file(configure()))
    return file


def keep_appearance(theme: str | None, columns: tuple[str, ...]) -> Path:
    """Write these two into the user's file (None and (): the defaults); whatever else is in it stays.

    Raises:
        UsageError: what is there cannot be used. LaminaError: it cannot be written.
    """
    file, known = user_file(), configure(variables=False)
    chosen = {"theme": theme, "columns": columns}
    origin = {**known.origin, **{name: str(file) if value else USUAL for name, value in chosen.items()}}
    _write(file, _as_file(Configured(replace(known.settings, theme=theme, columns=columns), origin)))
    return file


def _as_file(configured: Configured) -> str:
    """Every setting with what it takes; those with their default commented out. The user's keys and commands are kept."""
    settings, origin = configured.settings, configured.origin
    lines = [_HEAD]
    for option in OPTIONS:
        if option.variable:
            value = getattr(settings, option.name)
            usual = origin[option.name] == USUAL
            lines.append(f"# {option.about} ({option.takes})\n{'# ' if usual else ''}{option.name} = {_toml(value)}\n")
    return "\n".join(lines) + (_own(settings) or _TAIL)


def _own(settings: Settings) -> str:
    text = ""
    if settings.keys:
        text += "\n[keys]\n" + "".join(f"{_toml(name)} = {_toml(keys)}\n" for name, keys in settings.keys.items())
    for command in settings.commands:
        text += f"\n[[commands]]\nname = {_toml(command.name)}\nkey = {_toml(command.key)}\nrun = {_toml(command.run)}\n"
    return text


def _toml(value: object) -> str:
    """A setting as TOML. A JSON string is also a TOML string."""
    if value is None:
        return f'"{AUTO}"'
    if isinstance(value, bool | float):
        return str(value).lower()
    if isinstance(value, str | Path):
        return json.dumps(str(value), ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    assert isinstance(value, tuple)
    return "[" + ", ".join(_toml(getattr(one, "run", one)) for one in value) + "]"


def _write(file: Path, text: str) -> None:
    """Replace *file* as a whole, so that there is always one to read; the old one is kept next to it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if file.exists():
            _replace(file.with_suffix(".toml.before"), file.read_bytes())
        _replace(file, text.encode())
    except OSError as error:
        raise LaminaError("cannot write", str(file), error.strerror or str(error)) from error


def _replace(file: Path, content: bytes) -> None:
    """Replace a file; a link of that name is replaced, not followed."""
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as new:
        try:
            new.write(content)
            new.flush()
            Path(new.name).replace(file)
        except BaseException:
            Path(new.name).unlink(missing_ok=True)
            raise

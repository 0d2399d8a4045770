"""Where the settings come from: the command line, else the environment, else the user's file, else the system's file, else the default.

A file that cannot be used is an error that names the file, the setting, what is wrong and how to correct it. Nothing is guessed.
"""

import argparse
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lamina.core.errors import UsageError
from lamina.tui.model.settings import OPTIONS, Option, Settings

USUAL, BY_OPTION = "default", "command line"
_KNOWN = {option.name: option for option in OPTIONS}


@dataclass(frozen=True)
class Configured:
    """The settings in force, and where each comes from, by name: `USUAL`, `BY_OPTION`, "$LAMINA_…" or a file."""

    settings: Settings
    origin: Mapping[str, str]


def user_file() -> Path:
    """The user's file, which may not exist."""
    from platformdirs import user_config_path

    return user_config_path("lamina") / "config.toml"


def system_file() -> Path:
    """The system's file, as in /etc/xdg."""
    from platformdirs import site_config_path

    return site_config_path("lamina") / "config.toml"


def configure(args: argparse.Namespace | None = None, variables: bool = True) -> Configured:
    """Put the settings together; without *variables* only from files and options.

    Raises:
        UsageError: a file, a variable or an option holds something that cannot be used.
    """
    found: dict[str, object] = {}
    origin = dict.fromkeys(_KNOWN, USUAL)
    for file in (system_file(), user_file()):
        for name, value in _read_file(file).items():
            found[name], origin[name] = _value(_known(name, file), value, str(file)), str(file)
    for name, option in _KNOWN.items():
        variable = f"LAMINA_{name.upper()}"
        if variables and option.variable and (text := os.environ.get(variable)):
            found[name], origin[name] = _value(option, text, f"${variable}"), f"${variable}"
    for name, chosen in _options(args).items():
        found[name], origin[name] = _value(_KNOWN[name], chosen, f"--{name}"), BY_OPTION
    configured = Configured(Settings(**found), origin)  # type: ignore[arg-type]
    _check(configured)
    return configured


def _options(args: argparse.Namespace | None) -> dict[str, object]:
    if args is None:
        return {}
    chosen: dict[str, object] = {"theme": args.theme} if args.theme else {}
    if args.no_mouse:
        chosen["mouse"] = False
    return chosen | {name: True for name in ("ascii", "readonly") if getattr(args, name)}


def _read_file(file: Path) -> dict[str, object]:
    try:
        with file.open("rb") as opened:
            _refuse_strangers(file, os.fstat(opened.fileno()).st_uid)
            return tomllib.load(opened)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError("cannot read", str(file), error.strerror or str(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError("cannot use", str(file), f"not TOML: {error}", "docs/configuration.md has an example") from error


def _refuse_strangers(file: Path, owner: int) -> None:
    """A file may bind commands to keys, and lamina often runs as root: it must belong to root, to us, or to the user who called sudo."""
    caller = os.environ.get("SUDO_UID", "") if os.geteuid() == 0 else ""
    if owner not in (0, os.geteuid()) and str(owner) != caller:
        why = f"it belongs to user {owner}, whose commands would run with your rights"
        raise UsageError("cannot use", str(file), why, "chown it, or set XDG_CONFIG_HOME")


def _known(name: str, file: Path) -> Option:
    if name not in _KNOWN:
        near = get_close_matches(name, _KNOWN, n=1)
        fix = f"did you mean {near[0]}?" if near else f"settings are {', '.join(_KNOWN)}"
        raise UsageError("cannot use", str(file), f"there is no setting {name}", fix)
    return _KNOWN[name]


def _value(option: Option, value: object, where: str) -> object:
    try:
        return option.read(value)
    except (ValueError, LookupError, OverflowError, RuntimeError):  # as of "~nobody"
        raise UsageError("cannot use", where, f"{option.name} = {value!r}", f"it takes {option.takes}") from None


def _check(configured: Configured) -> None:
    """Check what only the screen knows: names of themes and of actions, and keys that would be used twice."""
    from textual.theme import BUILTIN_THEMES

    from lamina.tui.keys.rebinding import check_keys
    from lamina.tui.theme import THEMES
    from lamina.tui.widgets.process_columns import ALL as COLUMNS

    settings, origin = configured.settings, configured.origin
    themes = {**THEMES, **BUILTIN_THEMES}
    if settings.theme is not None and settings.theme not in themes:
        near = [name for name in THEMES if name.endswith(f"-{settings.theme}")] or get_close_matches(settings.theme, themes, n=1)
        fix = f"did you mean {near[0]}?" if near else f"lamina's are {', '.join(THEMES)}"
        raise UsageError("cannot use", origin["theme"], f"there is no theme {settings.theme}", fix)
    if unknown := [name for name in settings.columns if name not in COLUMNS]:
        raise UsageError("cannot use", origin["columns"], f"there is no column {unknown[0]}", f"columns are {', '.join(COLUMNS)}")
    if wrong := check_keys(settings):
        raise UsageError("cannot use", origin["keys" if settings.keys else "commands"], *wrong)

"""Checks the keys that the user has chosen: whether the action and the key exist, and whether a key would be used twice."""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache

from textual.binding import Binding
from textual.keys import Keys

from lamina.tui.keys.keymap import CONTEXTS
from lamina.tui.model.settings import Settings

# Contexts whose keys work wherever one is.
_EVERYWHERE = ("app", "pane", "target")
_MODIFIERS = {"ctrl", "alt", "shift", "super", "meta", "hyper"}
_FORM = "keys are as in d, F, f5, ctrl+e, space, ?"


def bindings_by_name() -> dict[str, Binding]:
    """Every action by its name."""
    return {it.id: it for keys in CONTEXTS.values() for it in keys if isinstance(it, Binding) and it.id}


def check_keys(settings: Settings) -> tuple[str, str] | None:
    """What is wrong with the user's keys, and how to correct it; None if nothing is wrong."""
    known = bindings_by_name()
    for name in settings.keys:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            return f"there is no action {name}", f"did you mean {near[0]}?" if near else "lamina config --keys lists them"
    chosen = {**settings.keys, **{f"app.{it.name}": it.key for it in settings.commands}}
    for name, keys in chosen.items():
        for key in keys_of(keys):
            if not _is_key(key):
                return f"{name}: there is no key {key}", _FORM
    return _taken_twice(chosen, {name: settings.keys.get(name, binding.key) for name, binding in known.items()})


def _taken_twice(chosen: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, str] | None:
    for name, keys in chosen.items():
        context = name.split(".")[0]
        for other, others in now.items():
            both = keys_of(keys) & keys_of(others)
            there = other.split(".")[0]
            if other != name and both and (context == there or context in _EVERYWHERE or there in _EVERYWHERE):
                return f"{name} and {other} would both be on {min(both)}", f"give {other} another key"
    return None


@cache
def keys_of(keys: str) -> frozenset[str]:
    """The keys in "d,?", as Textual names them."""
    words = ",".join(key.strip() for key in keys.split(","))
    return frozenset(binding.key for binding in Binding.make_bindings([Binding(words, "", "")]))


def _is_key(key: str) -> bool:
    *modifiers, last = key.split("+")
    return set(modifiers) <= _MODIFIERS and (last in {it.value for it in Keys} or (last.isalnum() and len(last) == 1) or last in _signs())


@cache
def _signs() -> frozenset[str]:
    return frozenset(key for code in range(33, 127) if chr(code) != "," for key in keys_of(chr(code)))

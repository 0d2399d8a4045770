"""What is private in Textual is used in one module only, and is still there."""

import ast
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import textual
from textual.app import App
from textual.command import CommandPalette
from textual.dom import DOMNode
from textual.message_pump import MessagePump
from textual.screen import Screen

import lamina.tui
from lamina.tui import textual_private
from lamina.tui.textual_private import SequenceParser

OURS = "lamina.tui."
ALLOWED = textual_private.__name__


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def modules() -> Iterator[str]:
    return (
        found.name for found in pkgutil.walk_packages(lamina.tui.__path__, OURS) if found.name != ALLOWED and "__main__" not in found.name
    )


@cache
def attributes(cls: type, used: bool = False) -> frozenset[str]:
    """The private names that *cls* itself defines or sets, or that are *used* in it."""
    names = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls)))):
        if isinstance(node, ast.Attribute) and (used or isinstance(node.ctx, ast.Store)) and ast.unparse(node.value) != "os":
            names.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {it.id for it in (node.targets if isinstance(node, ast.Assign) else [node.target]) if isinstance(it, ast.Name)}
    return frozenset(filter(is_private, names))


@cache
def private_names() -> frozenset[str]:
    """Private names of all classes that Textual has."""
    found: set[str] = set()
    for file in Path(textual.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_private(node.attr):
                found.add(node.attr)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_private(node.name):
                found.add(node.name)
    return frozenset(found)


def test_nothing_else_overrides_or_uses_a_private_name_of_a_base_class() -> None:
    wrong = []
    for name in modules():
        for cls in vars(importlib.import_module(name)).values():
            if not (isinstance(cls, type) and cls.__module__ == name and issubclass(cls, MessagePump)):
                continue
            theirs = frozenset[str]().union(*(attributes(base) for base in cls.__mro__ if base.__module__.startswith("textual.")))
            wrong += [f"{name}.{cls.__name__}.{it}" for it in sorted(attributes(cls, used=True) & theirs)]
    assert not wrong


def test_nothing_else_reads_a_private_name_of_an_object_of_textual() -> None:
    wrong = []
    for name in modules():
        source = inspect.getsource(importlib.import_module(name))
        tree = ast.parse(source)
        ours = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and is_private(node.attr) and node.attr in private_names() - ours:
                owner = ast.unparse(node.value)
                if owner not in ("self", "os", "super()"):
                    wrong.append(f"{name}:{node.lineno} {owner}.{node.attr}")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("textual") and "._" in (node.module or ""):
                wrong.append(f"{name}:{node.lineno} imports {node.module}")
    assert not wrong


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (App, "_check_bindings _handle_exception _print_error_renderables _exit_renderables _screen_stacks _css_update_count"),
        (MessagePump, "_closing _closed _message_queue _is_mounted"),
        (DOMNode, "_nodes _bindings"),
        (Screen, "_css_update_count _callbacks _layout_required _modal_binding_chain"),
        (CommandPalette, "_GATHER_COMMANDS_GROUP _action_command_list"),
        (SequenceParser, "_awaiting"),
    ],
)
def test_they_are_still_there(owner: type, names: str) -> None:
    there = frozenset[str]().union(*(attributes(base) for base in owner.__mro__ if base.__module__.startswith("textual")))
    assert set(names.split()) <= there

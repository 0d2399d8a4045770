"""Undo: brings a dropped layer back as a leaf. Empty: removes dropped layers for good."""

import os
import re
from functools import partial
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import TRASH
from lamina.core.image.stack import Stack
from lamina.core.rewrite.plan import Plan, deepest_first, require_free, with_rewritings
from lamina.core.rewrite.trash import dropped_at, name_of
from lamina.core.rewrite.tree import Node, Tree

_NAME = re.compile(r"[^./\0][^/\0]*")


def entry_name(layer: Layer) -> str:
    """What a dropped layer is called in the trash: its name, with a number behind it if several had that."""
    return layer.name.removeprefix(TRASH)


def find_dropped(stack: Stack, word: str | None = None) -> Layer:
    """The dropped layer that is called, or was called, *word*; the newest of several, or of all.

    Raises:
        ImageError: there is none.
    """
    found = [it for it in stack.trashed if word is None or entry_name(it) == word]
    found = found or [it for it in stack.trashed if name_of(it) == word]
    if found:
        return max(found, key=dropped_at)
    names = ", ".join(entry_name(it) for it in stack.trashed)
    damaged = [it for it in stack.unreadable if it.path.name.startswith(TRASH)]
    if damaged and (word is None or any(it.path.name == f"{TRASH}{word}" for it in damaged)):
        raise ImageError("cannot undo", str(damaged[0].path), damaged[0].why)
    raise ImageError("no such layer", word or "", f"the trash of {stack.path} holds {names or 'nothing'}")


def plan_undo(directory: Path, word: str | None = None, name: str | None = None) -> Plan:
    """What bringing back the dropped layer *word* (or the newest one) of the stack in *directory* would do; *name* instead of its old one.

    If its parent is in the trash too, it first takes over what it inherits from it.

    Raises:
        ImageError: there is none, its name is taken, or it cannot take what it needs.
    """
    stack = Stack.open(directory)
    layer = find_dropped(stack, word)
    return _plan_undo(layer.directory, name, stack)


def _plan_undo(directory: Path, name: str | None, stack: Stack) -> Plan:
    tree = Tree(stack)
    node = tree.node(Layer(directory))
    wanted = name or name_of(node.layer)
    if not _NAME.fullmatch(wanted):
        raise ImageError(
            "cannot undo", f"layer {entry_name(node.layer)}", f"{wanted!r} is no name for a layer", "choose one with --as NAME"
        )
    if os.path.lexists(tree.directory / wanted):
        why = f"there is {tree.directory / wanted} already"
        raise ImageError("cannot undo", f"layer {entry_name(node.layer)}", why, "choose another name with --as NAME")
    while (above := tree.parent(node)) is not None and above.trashed:
        tree.take(node)
    again = partial(_plan_undo, directory, name)
    return with_rewritings(tree, Plan("cannot undo", tree.directory, back=((node.layer, wanted),), again=again))


def plan_empty(directory: Path, word: str | None = None) -> Plan:
    """What removing the dropped layer *word*, or all of them, for good would do. Dropped layers that stay first take over what they need.

    Raises:
        ImageError: there is none, or one that stays cannot take what it needs.
    """
    stack = Stack.open(directory)
    going = None if word is None else find_dropped(stack, word).directory
    return _plan_empty(going, stack)


def _plan_empty(going: Path | None, stack: Stack) -> Plan:
    tree = Tree(stack)
    nodes: list[Node] = [it for it in tree.nodes.values() if it.trashed and tree.here(it) and going in (None, it.layer.directory)]
    what = "cannot empty the trash"
    require_free(tree, nodes, what)
    tree.drop(nodes, for_good=True)
    return with_rewritings(tree, Plan(what, tree.directory, removed=deepest_first(nodes), again=partial(_plan_empty, going)))

"""Squash: of a stretch of a chain only the last layer stays, holding all that it resolved there, on what the first one stood on."""

from functools import partial
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.layer import Layer
from lamina.core.image.shape.plan import Plan, deepest_first, require_free, with_rewritings
from lamina.core.image.shape.tree import Node, Tree
from lamina.core.image.stack import Stack

WHAT = "cannot squash"


def plan_squash(first: Layer, last: Layer) -> Plan:
    """What squashing the layers from *first* to *last* would do: *last* stays, on the parent of *first*.

    A layer between on which others stand, too, is kept, and so are those whose pages it needs; the rest goes to the trash.

    Raises:
        ImageError: *first* is no ancestor of *last*, a layer that would go is pinned, or *last* cannot take what it needs.
    """
    return _plan(first.directory, last.directory, Stack.open(last.directory.parent))


def _plan(first: Path, last: Path, stack: Stack) -> Plan:
    tree = Tree(stack)
    top, bottom = tree.node(Layer(last)), Layer(first)
    chain = [top, *tree.ancestors(top)]
    at = next((at for at, node in enumerate(chain) if node.layer.key == bottom.key), 0)
    if not at:
        why = "they are the same layer" if top.layer.key == bottom.key else f"{bottom.name} is no ancestor of {top.layer.name}"
        raise ImageError(WHAT, f"layers {bottom.name}..{top.layer.name}", why)
    between = chain[1 : at + 1]
    if not tree.here(top):
        raise ImageError(WHAT, f"layer {top.layer.path}", f"it does not lie in the stack {stack.path}")
    kept = _needed(tree, [top, *between])
    going = [node for node in between if node.layer.key not in kept]
    require_free(tree, going, WHAT)
    for _ in between:
        tree.take(top)
    tree.drop(going)
    staying = tuple(node.layer for node in between if node.layer.key in kept)
    plan = Plan(WHAT, tree.directory, dropped=deepest_first(going), kept=staying, again=partial(_plan, first, last))
    return with_rewritings(tree, plan)


def _needed(tree: Tree, stretch: list[Node]) -> set[tuple[object, ...]]:
    """Those behind the first of *stretch* on which others stand, too, and those whose pages these need."""
    inside = {node.layer.key for node in stretch}
    needed: set[tuple[object, ...]] = set()
    for node in stretch[1:]:
        if not any(below.layer.key not in inside and not below.trashed for below in tree.children(node)):
            continue
        needed.add(node.layer.key)
        chain = node.layer.chain()
        for which in node.layer.objects:
            needed |= {share.layer.key for share in owners.resolve(chain, which).shares} & inside
    return needed

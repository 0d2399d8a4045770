"""Squash: replaces several consecutive layers by the last of them, which takes over all pages it inherited from the others.

The last layer's sidecar lists the layers squashed into it. So a squash that was interrupted before they all went can be repeated, although
they are no longer its ancestors.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image import owners
from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.rewrite.plan import Plan, deepest_first, require_free, with_rewritings
from lamina.core.rewrite.tree import Key, Node, Tree

WHAT = "cannot squash"


def plan_squash(first: Layer, last: Layer) -> Plan:
    """What squashing the layers from *first* to *last* would do: *last* stays, as a child of the parent of *first*.

    A layer in between that has other children is kept, and so are the layers whose pages it needs; the rest goes to the trash.

    Raises:
        ImageError: *first* is no ancestor of *last*, a layer that would go is pinned, or *last* cannot take what it needs.
    """
    return _plan(first.directory, last.directory, Stack.open(last.directory.parent))


def _plan(first: Path, last: Path, stack: Stack) -> Plan:
    tree = Tree(stack)
    top, bottom = tree.node(Layer(last)), tree.node(Layer(first))
    if not tree.here(top):
        raise ImageError(WHAT, f"layer {top.layer.path}", f"it does not lie in the stack {stack.path}")
    chain = [top, *tree.ancestors(top)]
    above = bottom in chain
    between = chain[1 : chain.index(bottom) + 1] if above else _left_over(tree, top)
    if bottom is top or bottom not in between:
        why = "they are the same layer" if bottom is top else f"{bottom.layer.name} is no ancestor of {top.layer.name}"
        raise ImageError(WHAT, f"layers {bottom.layer.name}..{top.layer.name}", why)
    kept = _needed(tree, top, between)
    going = [node for node in between if node.layer.key not in kept]
    require_free(tree, going, WHAT)
    for _ in between if above else ():
        tree.take(top)
    tree.drop(going)
    staying = tuple(node.layer for node in between if node.layer.key in kept)
    plan = Plan(WHAT, tree.directory, dropped=deepest_first(going), kept=staying, again=partial(_plan, first, last))
    plan = with_rewritings(tree, plan)
    ids = tuple(_id(node) for node in between if _id(node))
    rewritings = [replace(it, squashed=ids) if it.layer is top.layer else it for it in plan.rewritings]
    return replace(plan, rewritings=tuple(rewritings))


def _left_over(tree: Tree, top: Node) -> list[Node]:
    """The layers squashed into *top* that are still there: kept, brought back, or left by a squash that was interrupted."""
    sidecar = top.layer.sidecar
    squashed = sidecar.squashed if sidecar else ()
    return [node for node in tree.nodes.values() if _id(node) in squashed and tree.here(node) and not node.trashed]


def _id(node: Node) -> str:
    sidecar = node.layer.sidecar
    return sidecar.layer_id if sidecar else ""


def _needed(tree: Tree, top: Node, between: list[Node]) -> set[Key]:
    """The layers of *between* that have other children, and the layers whose pages those need."""
    inside = {node.layer.key for node in (top, *between)}
    needed: set[Key] = set()
    for node in between:
        if not any(below.layer.key not in inside and not below.trashed for below in tree.children(node)):
            continue
        needed.add(node.layer.key)
        chain = node.layer.chain()
        for which in node.layer.objects:
            needed |= {share.layer.key for share in owners.resolve(chain, which).shares} & inside
    return needed

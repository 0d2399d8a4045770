"""Drop: moves layers to the trash. Their children first take over the pages that they inherit from them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from lamina.core.image.layer import Layer
from lamina.core.image.stack import Stack
from lamina.core.rewrite.plan import Plan, deepest_first, require_free, with_rewritings
from lamina.core.rewrite.tree import Tree

WHAT = "cannot drop"


def plan_drop(layers: Iterable[Layer], for_good: bool = False) -> Plan:
    """What dropping some layers of one stack would do. Each layer that stays is rewritten at most once, however many go.

    *for_good*: they do not stay in the trash.

    Raises:
        ImageError: one of them is pinned, or a child cannot take over what it needs.
        ValueError: they are of several stacks, or there is none.
    """
    going = list(layers)
    (directory,) = {layer.directory.parent for layer in going}
    return _plan(frozenset(layer.directory for layer in going), for_good, Stack.open(directory))


def _plan(going: frozenset[Path], for_good: bool, stack: Stack) -> Plan:
    tree = Tree(stack)
    nodes = [tree.node(layer) for layer in map(Layer, sorted(going))]
    require_free(tree, nodes, WHAT)
    tree.drop(nodes, for_good)
    dropped = deepest_first(nodes)
    plan = Plan(WHAT, tree.directory, dropped=dropped, removed=dropped if for_good else (), again=partial(_plan, going, for_good))
    return with_rewritings(tree, plan)

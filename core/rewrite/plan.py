"""A planned change of a stack: each verb makes a plan, its dry run shows it, and `apply` carries it out."""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import Cancelled, ImageError
from lamina.core.events import CancelToken, Listener, ignore
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import sweep_stack
from lamina.core.image.lock import locked, shared, stack_of
from lamina.core.image.stack import Stack
from lamina.core.rewrite.layout import cost_of
from lamina.core.rewrite.one_layer import rewrite
from lamina.core.rewrite.other_stacks import children_elsewhere
from lamina.core.rewrite.trash import disk_bytes, move_to_trash, remove, take_back
from lamina.core.rewrite.tree import Node, Tree


@dataclass(frozen=True, eq=False)
class Rewriting:
    """A layer that stays and is rewritten, because its parent goes.

    Attributes:
        layer: as it is now.
        parent: its new parent, or None.
        own: what it will hold itself, by task or shared object, where that changes.
        pages: pages it takes from the layers that go.
        copied: bytes written for it; grown: bytes by which it takes more space afterwards.
        squashed: ids of the layers squashed into it.
    """

    layer: Layer
    parent: Layer | None
    own: Mapping[Object, PageRuns]
    pages: int
    copied: int
    grown: int
    squashed: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Plan:
    """What a verb would do to a stack.

    Attributes:
        what: the beginning of an error, as in "cannot drop".
        stack: the directory.
        rewritings: layers that are rewritten, before anything goes.
        dropped: layers that go to the trash, children before parents.
        emptied: dropped layers without children that are removed for good before that.
        removed: dropped layers removed for good at the end, children before parents.
        back: dropped layers that come back, each with its name.
        kept: layers that the verb could have taken and leaves where they are, because others need them.
        again: makes the same plan of the stack as it is when it is applied.
    """

    what: str
    stack: Path
    rewritings: tuple[Rewriting, ...] = ()
    dropped: tuple[Layer, ...] = ()
    emptied: tuple[Layer, ...] = ()
    removed: tuple[Layer, ...] = ()
    back: tuple[tuple[Layer, str], ...] = ()
    kept: tuple[Layer, ...] = ()
    again: "Callable[[Stack], Plan] | None" = None

    @property
    def pages(self) -> int:
        """Pages that layers take from those that go."""
        return sum(it.pages for it in self.rewritings)

    @property
    def bytes_copied(self) -> int:
        """Bytes written; each layer needs its part free for as long as it is made."""
        return sum(it.copied for it in self.rewritings)

    @property
    def bytes_trashed(self) -> int:
        """Disk that goes to the trash, and counts as used until it is emptied."""
        gone = {layer.key for layer in self.removed}
        return sum(disk_bytes(layer) for layer in self.dropped if layer.key not in gone)

    @property
    def bytes_freed(self) -> int:
        """Disk that is free in the end: what goes, minus what others grow by. Negative if it costs more than it frees.

        What goes to the trash counts: it is given back when the trash is emptied.
        """
        going = {layer.key: layer for layer in (*self.dropped, *self.emptied, *self.removed)}
        return sum(disk_bytes(layer) for layer in going.values()) - sum(it.grown for it in self.rewritings)

    @property
    def effect(self) -> tuple[object, ...]:
        """Equal for two plans that would do the same."""
        lists = (self.dropped, self.emptied, self.removed, [layer for layer, _ in self.back])
        anew = [(it.layer.key, it.parent.key if it.parent else None, tuple(it.own.items())) for it in self.rewritings]
        return tuple(anew), *(tuple(layer.key for layer in each) for each in lists)


def require_free(tree: Tree, going: Iterable[Node], what: str) -> None:
    """Refuse to take *going* away if one of them is pinned, not a directory of this stack, or needed by what cannot be changed.

    Raises:
        ImageError: with the layer named.
    """
    nodes = list(going)
    keys = {node.layer.key for node in nodes}
    for node in nodes:
        layer, sidecar = node.layer, node.layer.sidecar
        if not tree.here(node):
            raise ImageError(
                what, f"layer {layer.path}", f"it does not lie in the stack {tree.stack.path}", "name the stack that it lies in"
            )
        if sidecar is not None and sidecar.pinned and not node.trashed:
            why = f"it is pinned{f' ({sidecar.pin_reason})' if sidecar.pin_reason else ''}"
            raise ImageError(what, f"layer {layer.path}", why, f"lamina unpin {layer.path}")
    for node in tree.nodes.values():
        if node.parent in keys and node.layer.key not in keys and not tree.here(node):
            why = f"{node.layer.path}, in another directory, depends on it"
            raise ImageError(what, f"layer {tree.nodes[node.parent].layer.path}", why, f"drop {node.layer.path} first")
    directories = {node.layer.directory: node.layer for node in nodes}
    known = {node.layer.directory for node in tree.nodes.values()}
    for below, above in children_elsewhere(tree.directory, directories):
        if below not in known:
            why = f"{below} depends on it, and cannot be read or is in another directory"
            raise ImageError(what, f"layer {directories[above].path}", why, f"repair, drop or remove {below} first")


def with_rewritings(tree: Tree, plan: Plan) -> Plan:
    """*plan* with the rewritings that make the stack what *tree* says.

    Raises:
        ImageError: a layer that stays cannot take what it would need.
    """
    away = {layer.key for layer in (*plan.dropped, *plan.emptied, *plan.removed)}
    rewritings = []
    for node in tree.changed():
        if node.layer.key in away:
            continue
        above = tree.parent(node)
        cost = cost_of(node.layer, node.own)
        pages = sum((node.own[which] - node.layer.pagemap(which).present).pages for which in node.own)
        rewritings.append(Rewriting(node.layer, above.layer if above else None, dict(node.own), pages, cost.copied, cost.grown))
    return replace(plan, rewritings=tuple(rewritings))


def deepest_first(nodes: Iterable[Node]) -> tuple[Layer, ...]:
    """The layers of *nodes*, each before its parent."""
    return tuple(node.layer for node in sorted(nodes, key=lambda node: -len(node.layer.chain())))


def apply(plan: Plan, listen: Listener = ignore, cancel: CancelToken | None = None) -> None:
    """Carry it out. Every layer that stays is complete at any moment; after a crash, the same command finishes the work.

    Raises:
        BusyError: another process writes to the stack, or reads it for a restore.
        ImageError: the stack changed since the plan was made, or a layer cannot be rewritten; nothing was dropped then.
        Cancelled: *cancel* asked for it before anything went.
    """
    cancel = cancel or CancelToken()
    with locked(plan.stack), ExitStack() as held:
        sweep_stack(plan.stack)
        if plan.again is not None and plan.again(Stack.open(plan.stack)).effect != plan.effect:
            raise ImageError(plan.what, f"stack {plan.stack}", "it changed since the dry run", "look at it again")
        elsewhere = {stack_of(above.directory) for it in plan.rewritings for above in it.layer.chain()} - {plan.stack}
        held.enter_context(shared(sorted(elsewhere), "cannot read"))
        for layer in plan.emptied:
            remove(Layer(layer.directory))
        _rewrite_all(plan, listen, cancel)
        trashed = {layer.key: move_to_trash(Layer(layer.directory), followers(plan.stack, layer)) for layer in plan.dropped}
        for layer in plan.removed:
            remove(Layer(trashed.get(layer.key, layer.directory)))
        for layer, name in plan.back:
            take_back(Layer(layer.directory), name, followers(plan.stack, layer))


def _rewrite_all(plan: Plan, listen: Listener, cancel: CancelToken) -> None:
    for done, it in enumerate(plan.rewritings):
        try:
            # Opened again: the layers of the plan remember the ones rewritten before as they were.
            parent = Layer(it.parent.directory) if it.parent else None
            rewrite(Layer(it.layer.directory), parent, it.own, listen, cancel, it.squashed)
        except Cancelled as error:
            if not done:
                raise
            why = f"cancelled; {done} layers hold now what they need, and none went"
            raise Cancelled(error.what, why=why, fix="repeat it to go on") from error


def followers(stack: Path, layer: Layer) -> list[Layer]:
    """The layers in the directory *stack* whose `parent` link names *layer*."""
    found = []
    for entry in sorted(os.scandir(stack), key=lambda entry: entry.name):
        try:
            link = os.readlink(Path(entry.path) / "parent") if entry.is_dir(follow_symlinks=False) else ""
        except OSError:
            continue
        if link and os.path.realpath(Path(entry.path) / link) == str(layer.directory):
            found.append(Layer(Path(entry.path)))
    return found

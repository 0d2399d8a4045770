"""The layers of a stack as they will be: the parent of each and the pages it will own, worked out from page runs alone.

A layer that goes passes its own pages to the children that inherit them, and they inherit what it inherited. So each layer that stays is
rewritten at most once, however many go.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer, Object
from lamina.core.image.leftovers import TRASH
from lamina.core.image.stack import Stack

_NONE = PageRuns.empty()
Key = tuple[object, ...]


@dataclass
class Node:
    """One layer, and what it would be.

    Attributes:
        layer: as it is now.
        parent: the key of its parent then, or None.
        trashed: it lies in the trash.
        own, inherited: by object, where it would differ from the layer's map; ask `owns` and `inherits`.
    """

    layer: Layer
    parent: Key | None
    trashed: bool
    own: dict[Object, PageRuns] = field(default_factory=dict)
    inherited: dict[Object, PageRuns] = field(default_factory=dict)

    def owns(self, which: Object) -> PageRuns:
        """The pages of a task or shared object that it would hold itself."""
        found = self.own.get(which)
        return found if found is not None else self.layer.pagemap(which).present if which in self.layer.held else _NONE

    def inherits(self, which: Object) -> PageRuns:
        """The pages that it would leave to its parent."""
        found = self.inherited.get(which)
        return found if found is not None else self.layer.pagemap(which).parent if which in self.layer.held else _NONE


class Tree:
    """Every layer of a stack, those in its trash and their ancestors elsewhere, by key."""

    def __init__(self, stack: Stack) -> None:
        """From the stack as it is now."""
        self.stack = stack
        self.directory = stack.path.resolve()
        self.nodes: dict[Key, Node] = {}
        for layer in (*stack.layers, *stack.trashed):
            above = stack.parent_of(layer)
            self.nodes[layer.key] = Node(layer, above.key if above else None, in_trash(layer))

    def node(self, layer: Layer) -> Node:
        """The node of a layer of this stack.

        Raises:
            ImageError: it is none.
        """
        found = self.nodes.get(layer.key)
        if found is None:
            raise ImageError("no such layer", str(layer.path), f"it is not in the stack {self.stack.path}")
        return found

    def parent(self, node: Node) -> Node | None:
        """Its parent then."""
        return None if node.parent is None else self.nodes[node.parent]

    def children(self, node: Node) -> list[Node]:
        """Its children then, dropped layers among them."""
        return [it for it in self.nodes.values() if it.parent == node.layer.key]

    def ancestors(self, node: Node) -> list[Node]:
        """Its ancestors then, up to the full layer."""
        found: list[Node] = []
        while (above := self.parent(found[-1] if found else node)) is not None:
            found.append(above)
        return found

    def here(self, node: Node) -> bool:
        """Whether it lies in this stack's directory, where it may be changed."""
        return node.layer.storage.writable and node.layer.directory.parent == self.directory

    def take(self, node: Node) -> None:
        """Give *node* what it inherits from its parent, and make it a child of that parent's parent.

        Raises:
            ImageError: it inherits pages that its parent does not have.
        """
        above = self.parent(node)
        assert above is not None
        for which in node.layer.objects:
            wanted = node.inherits(which)
            taken, left = wanted & above.owns(which), wanted & above.inherits(which)
            if (taken | left) != wanted:
                lacking = (wanted - taken - left).pages
                raise ImageError(
                    "cannot change", f"layer {node.layer.path}", f"{lacking} pages that it inherits are not in {above.layer.name}",
                    f"lamina verify {node.layer.path}",
                )  # fmt: skip
            if taken:
                node.own[which] = node.owns(which) | taken
            if taken or which in node.inherited:
                node.inherited[which] = left
        node.parent = above.parent

    def drop(self, going: Iterable[Node], for_good: bool = False) -> None:
        """Give every layer that stays what it inherits from *going*.

        Layers in the trash keep their parents there, unless those go *for_good*.

        Raises:
            ImageError: as `take`.
        """
        keys = {node.layer.key for node in going}
        for node in self.nodes.values():
            if node.layer.key in keys or (node.trashed and not for_good):
                continue
            while node.parent in keys:
                self.take(node)

    def changed(self) -> list[Node]:
        """The layers that would change."""
        found = []
        for node in self.nodes.values():
            above = self.stack.parent_of(node.layer)
            if node.own or node.parent != (above.key if above else None):
                found.append(node)
        return found


def in_trash(layer: Layer) -> bool:
    """Whether a layer is in a trash."""
    return layer.name.startswith(TRASH)

"""The tree of what a layer holds. The fields of a file are read when its branch is opened."""

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.message import Message
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from lamina.tui.keys.keymap import TREE_KEYS
from lamina.tui.read.contents import Branch, Contents


class ContentsTree(Tree[Branch]):
    """The branches of one layer."""

    BINDINGS: ClassVar[list[BindingType]] = TREE_KEYS

    @dataclass
    class Opened(Message):
        """The fields of a file are to be read."""

        file: str

    @dataclass
    class Led(Message):
        """A branch that leads to a place in memory was chosen."""

        pid: int
        address: int

    def __init__(self) -> None:
        super().__init__("", id="contents")
        self.show_root = False
        self.guide_depth = 2
        self._waiting: dict[str, list[TreeNode[Branch]]] = {}

    def show(self, contents: Contents) -> None:
        """Show the branches of another layer. Tasks and files are open, what is below them is closed."""
        self.clear()
        self._waiting.clear()
        for branch in contents.branches:
            node = self._add(self.root, branch)
            if branch.label.startswith(("task", "files")):
                node.expand()

    def show_fields(self, file: str, branches: tuple[Branch, ...]) -> None:
        """The fields of a file were read."""
        for node in self._waiting.pop(file, []):
            node.remove_children()
            for branch in branches:
                self._add(node, branch)

    def _add(self, parent: TreeNode[Branch], branch: Branch) -> TreeNode[Branch]:
        label = Text(branch.label)
        if branch.note:
            label.append(f"  {branch.note}", style="bold" if branch.wrong else "dim")
        if not branch.children and not branch.file:
            return parent.add_leaf(label, branch)
        return parent.add(label, branch)

    def on_tree_node_expanded(self, event: Tree.NodeExpanded[Branch]) -> None:
        """Fill a branch the first time it is opened."""
        branch = event.node.data
        if branch is None or event.node.children:
            return
        for below in branch.children:
            self._add(event.node, below)
        if branch.file:
            event.node.add_leaf(Text("reading …", style="dim"))
            self._waiting.setdefault(branch.file, []).append(event.node)
            self.post_message(self.Opened(branch.file))

    def on_tree_node_selected(self, event: Tree.NodeSelected[Branch]) -> None:
        """Go to an area on Enter."""
        branch = event.node.data
        if branch is not None and branch.place is not None:
            self.post_message(self.Led(*branch.place))

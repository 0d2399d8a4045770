"""Every field of every file of a layer, as a plain tree and as text (`lamina show`)."""

from lamina.core.image.show.text import as_overview, as_text
from lamina.core.image.show.tree import Tree, as_tree, to_tree

__all__ = ["Tree", "as_overview", "as_text", "as_tree", "to_tree"]

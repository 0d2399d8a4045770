"""What differs between two layers, or a layer and a running tree: tasks, descriptors, areas, pages.

`diff` for two layers, `diff_live` for a layer and what runs; both give a `Difference`, which is only values.
"""

from lamina.core.events import CancelToken
from lamina.core.image.layer import Layer
from lamina.core.inspect.diff.difference import Difference, PagePair, diff_sides, read_pair
from lamina.core.inspect.diff.pages import Done

__all__ = ["Difference", "PagePair", "diff", "diff_live", "diff_sides", "read_pair"]


def diff(a: Layer, b: Layer, contents: bool = True, cancel: CancelToken | None = None, done: Done | None = None) -> Difference:
    """What differs from layer *a* to layer *b*, whatever they are to each other: parent and child, branches, different stacks.

    Raises:
        ImageError: an image of one of them is missing or damaged.
        Cancelled: *cancel* was set.
    """
    from lamina.core.inspect.diff.layer_side import LayerSide

    one = LayerSide(a)
    return diff_sides(one, LayerSide(b, beside=one), contents, cancel, done)


def diff_live(layer: Layer, pid: int, contents: bool = True, cancel: CancelToken | None = None, done: Done | None = None) -> Difference:
    """What differs from *layer* to the tree that runs at *pid*, which is neither stopped nor changed.

    Raises:
        LaminaError: as `diff`; the process ended, or may not be read.
    """
    from lamina.core.inspect.diff.layer_side import LayerSide
    from lamina.core.inspect.diff.live_side import LiveSide

    return diff_sides(LayerSide(layer), LiveSide(pid), contents, cancel, done)

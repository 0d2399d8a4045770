"""Labels and pins, kept in the sidecar: a label is a name for people; a pinned layer is never dropped, pruned or squashed away."""

from collections.abc import Callable
from dataclasses import replace

from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import sweep_stack
from lamina.core.image.lock import locked
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.stack import Stack

MAX_LABEL = 200


def pin(layer: Layer, reason: str = "") -> Sidecar:
    """Refuse from now on to drop, prune or squash away *layer*. Returns its sidecar.

    Raises:
        ImageError: it is in an archive, or cannot be written.
        BusyError: another process writes to the stack.
    """
    return _mark(layer, "cannot pin", lambda it: replace(it, pinned=True, pin_reason=reason))


def unpin(layer: Layer) -> Sidecar:
    """Take the pin of *layer* away; nothing happens if it has none. Raises as `pin`."""
    return _mark(layer, "cannot unpin", lambda it: replace(it, pinned=False, pin_reason=""))


def label(layer: Layer, text: str) -> Sidecar:
    """Give *layer* a label, or take it away if *text* is empty. Raises as `pin`, and `ImageError` if another layer goes by that word."""
    if len(text) > MAX_LABEL or not (text.isprintable() and text == text.strip()):
        raise ImageError(
            "cannot label", f"layer {layer.path}", f"a label is at most {MAX_LABEL} printable characters, without blanks around"
        )

    def check() -> None:
        for other in Stack.open(layer.directory.parent).layers if text else ():
            sidecar = other.sidecar
            if other.key != layer.key and (other.name == text or (sidecar is not None and sidecar.label == text)):
                raise ImageError("cannot label", f"layer {layer.path}", f"{other.path} is called {text} already", "choose another label")

    return _mark(layer, "cannot label", lambda it: replace(it, label=text), check)


def _mark(layer: Layer, what: str, change: Callable[[Sidecar], Sidecar], check: Callable[[], None] | None = None) -> Sidecar:
    if not layer.storage.writable:
        layer.require_writable(what)
    stack = layer.directory.parent
    with locked(stack):
        sweep_stack(stack)
        if check is not None:
            check()
        sidecar = change(Layer(layer.directory).sidecar or Sidecar.for_foreign(layer.directory))
        sidecar.store(layer.directory)
    return sidecar

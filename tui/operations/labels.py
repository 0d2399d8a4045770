"""Operations that write the label or the pin of a layer into its sidecar."""

from pathlib import Path

from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import layer_command_lines as commands


def label(layer: Path, text: str) -> Operation:
    """Give *layer* a name for people; "" takes it away."""

    def run(work: Work) -> str:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.marks import label as mark

        work.announce(commands.label_line(layer, text))
        mark(Layer(layer), text)
        return text

    return Operation("label", f"label layer {layer.name}", run, lambda text: f"called {text!r}" if text else "it has no label now")


def pin(layer: Path, reason: str) -> Operation:
    """Pin *layer*, so that it cannot be dropped, pruned or squashed away."""

    def run(work: Work) -> str:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.marks import pin as mark

        work.announce(commands.pin_line(layer, reason))
        mark(Layer(layer), reason)
        return "pinned: drop, squash and prune leave it alone"

    return Operation("pin", f"pin layer {layer.name}", run, lambda done: done)


def unpin(layer: Path) -> Operation:
    """Unpin *layer*."""

    def run(work: Work) -> str:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.marks import unpin as mark

        work.announce(commands.unpin_line(layer))
        mark(Layer(layer))
        return "no longer pinned"

    return Operation("unpin", f"unpin layer {layer.name}", run, lambda done: done)

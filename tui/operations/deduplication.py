"""Operations that remove what a stack holds twice: dedup, after which older layers cannot be restored, and lossless dedup."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.errors import ImageError
from lamina.tui.model import units
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import command_lines, layer_command_lines

if TYPE_CHECKING:
    from lamina.core.rewrite.dedup import DedupPlan
    from lamina.core.rewrite.lossless import LosslessPlan

_PAGE = 4096


@dataclass(frozen=True)
class Thinning:
    """What dedup and lossless dedup would free.

    Attributes:
        row: the layer; stack: its stack.
        dedup: the plan that frees blocks of its ancestors, or None because of `why_not`.
        lossless: the plan for the whole stack.
    """

    row: LayerRow
    stack: Path
    dedup: "DedupPlan | None"
    why_not: str
    lossless: "LosslessPlan"

    @property
    def punched_bytes(self) -> int:
        """What dedup of the layer frees in its ancestors."""
        return self.dedup.bytes_freed if self.dedup else 0

    @property
    def layer_bytes(self) -> int:
        """What a lossless dedup of the one layer frees."""
        return sum(it.bytes_freed for it in self.lossless.layers if it.layer.path == self.row.path)

    @property
    def stack_bytes(self) -> int:
        """What a lossless dedup of all layers frees."""
        shared = self.lossless.equal.pages * _PAGE if self.lossless.equal is not None and not self.lossless.why_not else 0
        return self.lossless.bytes_freed + shared


def plan_thinning(row: LayerRow, stack: Path, then: Callable[[Thinning], None]) -> Operation:
    """What dedup of the layer and lossless dedup would free, and what each would cost; changes nothing."""

    def run(work: Work) -> Thinning:
        from lamina.core.image.layer import Layer
        from lamina.core.rewrite.dedup import plan_dedup
        from lamina.core.rewrite.lossless import plan_lossless

        work.announce(command_lines.dedup_line(row.path, dry_run=True))
        plan, why_not = None, ""
        try:
            plan = plan_dedup(Layer(row.path))
        except ImageError as error:
            why_not = error.why or str(error)
        return Thinning(row, stack, plan, why_not, plan_lossless(stack, None, work.listen, work.cancel))

    def summary(found: Thinning) -> str:
        return f"would free {units.size(found.punched_bytes)}, or lossless {units.size(found.stack_bytes)}"

    return Operation("plan", f"dedup layer {row.name}, dry run", run, summary, then=then)


def dedup(plan: "DedupPlan") -> Operation:
    """Free in the ancestors what the layer itself holds, as planned."""
    layer = plan.layer.path

    def run(work: Work) -> int:
        from lamina.core.rewrite.dedup import apply_dedup

        work.announce(command_lines.dedup_line(layer))
        return apply_dedup(plan, listen=work.listen, cancel=work.cancel)

    return Operation("dedup", f"dedup layer {layer.name}", run, lambda freed: f"freed {units.size(freed)}")


def lossless(stack: Path, layer: Path | None = None) -> Operation:
    """Inherit or share what *layer* (or all of *stack* if None) holds twice. Every layer stays as restorable as it is."""
    place = layer or stack

    def run(work: Work) -> "LosslessPlan":
        from lamina.core.rewrite.lossless import apply_lossless

        work.announce(layer_command_lines.lossless_line(place))
        return apply_lossless(stack, [layer] if layer else None, work.listen, work.cancel)

    title = f"lossless dedup of {'layer' if layer else 'stack'} {place.name}"
    return Operation("lossless", title, run, lambda done: f"freed {units.size(done.bytes_freed + done.shared_bytes)}")

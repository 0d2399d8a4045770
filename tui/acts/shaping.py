"""Acts on the layers of a stack."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamina.tui import commands
from lamina.tui.acts.act import Act
from lamina.tui.model import units

if TYPE_CHECKING:
    from lamina.tui.bridge import Work


def plan_dedup(layer: Path) -> Act:
    """What dedup of *layer* would free and what it would cost; changes nothing."""

    def run(work: "Work") -> Any:
        from lamina.core.image.layer import Layer
        from lamina.core.image.shape.dedup import plan_dedup as plan

        work.announce(commands.dedup_line(layer, dry_run=True))
        return plan(Layer(layer))

    return Act("plan", f"dedup layer {layer.name}, dry run", run, lambda plan: f"would free {units.size(plan.bytes_freed)}")


def apply_dedup(layer: Path, plan: Any) -> Act:
    """Take out of the ancestors what *layer* itself holds, as planned."""

    def run(work: "Work") -> int:
        from lamina.core.image.shape.dedup import apply_dedup as apply

        work.announce(commands.dedup_line(layer))
        return apply(plan)

    return Act("dedup", f"dedup layer {layer.name}", run, lambda freed: f"freed {units.size(freed)}")

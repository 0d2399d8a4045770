"""The operation that writes a core file."""

from pathlib import Path
from typing import Any

from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import command_lines


def core_path(layer: Path, pid: int) -> Path:
    """Where the core file of task *pid* of *layer* goes: next to the layer."""
    return layer.parent / f"core.{layer.name}.{pid}"


def core(layer: Path, pid: int) -> Operation:
    """Write a core file of task *pid* of *layer* for gdb, next to the layer."""
    output = core_path(layer, pid)

    def run(work: Work) -> Any:
        from lamina.core.image.layer import Layer
        from lamina.core.inspect.corefile import write_core

        work.announce(command_lines.core_line(layer, pid, output))
        return write_core(Layer(layer), pid, output, work.listen, work.cancel)

    return Operation("core", f"core file of {pid} in layer {layer.name}", run, lambda _: f"gdb -c {output}")

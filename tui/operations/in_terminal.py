"""Operations on programs in terminals of lamina's own: start one, restore one."""

from collections.abc import Sequence

from lamina.core.events import Notice
from lamina.core.restore.request import RestoreRequest, RestoreResult
from lamina.tui import messages
from lamina.tui.model import units
from lamina.tui.model.operation import Operation, Work
from lamina.tui.operations import command_lines

Size = tuple[int, int]


def run(command: Sequence[str], size: Size) -> Operation:
    """Start *command* in a terminal of *size* (columns, lines)."""

    def start(work: Work) -> int:
        from lamina.tui.terminal.leader import start as start_program

        work.announce(command_lines.run_line(command))
        held = start_program(command, size)
        work.tell(messages.ProgramHeld(held))
        return held.pid

    return Operation("run", f"start {command[0]}", start, lambda pid: f"{command[0]} runs as {pid}")


def put_back(request: RestoreRequest, pid: int, name: str, size: Size) -> Operation:
    """Restore the layer, in which the program is called *name* and was *pid*, into a terminal of lamina's, which shows what it showed then.

    Args:
        size: of the terminal if the layer does not keep it (columns, lines).
    """
    layer = request.images_dir

    def restore(work: Work) -> RestoreResult:
        from lamina.tui.terminal.emulator import saved_size
        from lamina.tui.terminal.kept import read_screen
        from lamina.tui.terminal.leader import put_back as put_back_program

        work.announce(command_lines.restore_line(request))
        shown = read_screen(layer)
        if not shown:
            work.listen(Notice(f"layer {layer.name} does not keep what its terminal showed: most programs redraw it after ^L or Enter"))
        try:
            # Not the size that it will have on the screen: so the program is told of the change, and can redraw itself.
            window = saved_size(shown) if shown else (max(1, size[0] - 1), size[1])
        except ValueError as error:
            work.listen(Notice(f"its screen is not as it was in layer {layer.name}: {error}"))
            window, shown = size, ""
        held, result = put_back_program(
            request, name, shown, window, work.listen, work.cancel, lambda instead: work.tell(messages.ProgramHeld(instead))
        )
        work.tell(messages.ProgramHeld(held, result.rescue_dir))
        return result

    return Operation(
        "restore", f"restore layer {layer.name} of {name} {pid}", restore,
        lambda result: f"{result.pid} is back at layer {layer.name}, in {units.duration(result.elapsed_us)}", pid,
    )  # fmt: skip

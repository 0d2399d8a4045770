"""Operations between two machines: sending the pages of the next layer to a page server, and being a page server."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lamina.core.dump.next_layer import drop_if_empty, make_layer_dir, request_for
from lamina.core.dump.request import DumpResult
from lamina.core.events import Progress
from lamina.tui.model import units
from lamina.tui.model.operation import Operation, Work
from lamina.tui.model.target import look_up
from lamina.tui.operations import command_lines
from lamina.tui.read.examining import needs_shell_job

if TYPE_CHECKING:
    from lamina.core.dump.request import Companion
    from lamina.core.transfer.received_layer import Received


def send(
    pid: int, name: str, stack: Path | None, host: str, port: int, wire: int = 32, final: bool = False,
    companion: "Companion | None" = None,
) -> Operation:  # fmt: skip
    """Take the next layer of *pid*, its pages to the page server at *host* and *port*.

    Args:
        stack: as for a dump; the layer here has no pages.
        wire: bytes of a frame.
        final: end the program once the receiver has the whole layer.
        companion: as for a dump.
    """

    def run(work: Work) -> DumpResult:
        from lamina.core.dump.session import dump as dump_tree
        from lamina.core.transfer.connection import Address
        from lamina.core.transfer.conversation import Server
        from lamina.core.transfer.sender import PageServerPages, settle

        server = Server(Address(host, port), wire)
        place = look_up(pid, stack)
        layer = make_layer_dir(place.stack)
        try:
            request = request_for(pid, layer, place.layer, needs_shell_job(pid), final)
            work.announce(command_lines.send_line(request, host, port, wire))
            settle(layer, server)
            request = replace(request, companion=companion, destination=PageServerPages(server))
            return dump_tree(request, work.listen, work.cancel)
        except BaseException:
            drop_if_empty(layer)
            raise

    def summary(result: DumpResult) -> str:
        stats = result.stats
        sent = f"layer {result.images_dir.name}: {units.pages(stats.pages_written)} pages sent to {result.sent_to}"
        return f"{sent}, frozen {units.duration(stats.stood_still)}"

    return Operation("final" if final else "dump", f"dump of {name} {pid} to {host}:{port}", run, summary, pid)


def receive(stack: Path, parent: Path | None, host: str, port: int, auto_dedup: bool) -> Operation:
    """Be a page server for one dump, which becomes the next layer of *stack*, a child of *parent*. Cancelling it ends the waiting."""

    def run(work: Work) -> "Received":
        from lamina.core.transfer.connection import Address
        from lamina.core.transfer.received_layer import ServerRequest
        from lamina.core.transfer.receiver import PageServer

        layer = make_layer_dir(stack)
        try:
            on = f"../{parent.name}" if parent else None
            work.announce(command_lines.receive_line(layer, on, host, port, auto_dedup))
            with PageServer(ServerRequest(layer, Address(host, port), on, auto_dedup)) as server:
                work.listen(Progress("waits for a sender"))
                return server.serve(work.listen, work.cancel)
        except BaseException:
            drop_if_empty(layer)
            raise

    def summary(received: "Received") -> str:
        return f"layer {received.images_dir.name}: {units.pages(received.pages)} pages received from {received.peer}"

    return Operation("receive", f"page server at {host}:{port}", run, summary)

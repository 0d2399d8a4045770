"""Asks to which page server a layer is sent, or at which address lamina is to be a page server."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widgets import Input, Label, Static

from lamina.core.dump.next_layer import next_layer
from lamina.core.errors import TargetError
from lamina.tui.dialogs.question import Question
from lamina.tui.keys.keymap import FORM_KEYS
from lamina.tui.model.layers import LayerRow
from lamina.tui.model.subject import Subject
from lamina.tui.model.target import look_up
from lamina.tui.model.typed import ADDRESSES, keep_line, read_lines
from lamina.tui.operations import command_lines, page_server
from lamina.tui.services.base_app import BaseApp
from lamina.tui.theme import DANGER

YES, NO = frozenset({"yes", "y", "1"}), frozenset({"no", "n", "0", ""})
PORT = 9999


@dataclass(frozen=True)
class Where:
    """What the form was filled in with."""

    host: str
    port: int
    option: bool
    word: str


class AddressDialog(Question[Where | None]):
    """A form for an address, a word and an option. Answers None for Escape."""

    BINDINGS: ClassVar = FORM_KEYS

    def __init__(self, title: str, text: str, fields: tuple[tuple[str, str, str], ...], used: list[str]) -> None:
        """*fields*: label, value and hint of the address, the word and the option; *used*: addresses to offer, the newest last."""
        super().__init__()
        self._title, self._text, self._fields = title, text, fields
        offered = SuggestFromList(list(dict.fromkeys(reversed(used))), case_sensitive=False)
        self._inputs = [
            Input(value, placeholder=hint, compact=True, suggester=offered if at == 0 else None, id=f"address-{at}")
            for at, (_, value, hint) in enumerate(fields)
        ]
        self._command = Static(id="command")

    def compose(self) -> ComposeResult:
        """Three lines to fill in, and the command line that they make."""
        with Vertical(id="dialog") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = "Tab next · → take what is offered · Enter begin · Esc back"
            with Grid(id="timed-fields"):
                for (label, _, _), field in zip(self._fields, self._inputs, strict=True):
                    yield Label(label)
                    yield field
            yield Static(self._text, markup=False)
            yield self._command

    def on_mount(self) -> None:
        """Type at once; what is filled in already makes a command."""
        self._inputs[0].focus()
        self._changed()

    def command(self, answer: Where) -> str:
        """The command line that does the same, or, with a capital letter, why it cannot be done."""
        raise NotImplementedError

    def _answer(self) -> Where | str:
        address, word, option = (field.value.strip() for field in self._inputs)
        try:
            host, port = address_of(address)
        except ValueError as error:
            return str(error)
        if option.lower() not in YES | NO:
            return f"{self._fields[2][0]}: yes or no"
        return self.checked(Where(host, port, option.lower() in YES, word))

    def checked(self, answer: Where) -> Where | str:
        """*answer*, or what is wrong with its word."""
        return answer

    @on(Input.Changed)
    def _changed(self) -> None:
        answer = self._answer()
        text = Text(answer, style=DANGER) if isinstance(answer, str) else Text(f"$ {self.command(answer)}")
        self._command.update(text)

    @on(Input.Submitted)
    def _submitted(self) -> None:
        answer = self._answer()
        if isinstance(answer, Where):
            self.dismiss(answer)


class SendDialog(AddressDialog):
    """To which page server the next layer goes."""

    def __init__(self, pid: int, name: str, used: list[str]) -> None:
        self._pid = pid
        text = "The layer is made here without its pages. Start the page server first, on the layer that it received before."
        fields = (
            ("to page server", used[-1] if used else f"127.0.0.1:{PORT}", "ADDRESS:PORT"),
            ("frames", "32", "32, or 24 for a criu up to 4.1.1"),
            ("end the program", "no", "yes: once the receiver has the whole layer"),
        )
        super().__init__(f"Send a layer of {name} {pid}", text, fields, used)

    def checked(self, answer: Where) -> Where | str:
        """Frames have 24 or 32 bytes."""
        return answer if answer.word in ("24", "32") else "frames: 24 or 32"

    def command(self, answer: Where) -> str:
        """`lamina dump … --page-server …`."""
        keeps = "" if answer.option else " -R --track-mem"
        wire = f" --wire {answer.word}" if answer.word != "32" else ""
        return f"lamina dump -t {self._pid} -D …{keeps} --page-server --address {answer.host} --port {answer.port}{wire}"


class ReceiveDialog(AddressDialog):
    """Where lamina listens for one dump."""

    def __init__(self, stack: Path, newest: str, used: list[str]) -> None:
        self._stack, self._layer = stack, next_layer(stack)
        text = "Waits for one dump, which becomes the next layer here. c ends the waiting. Without TLS other machines can read along."
        fields = (
            ("listen at", f"127.0.0.1:{PORT}", "ADDRESS:PORT"),
            ("on layer", newest, "the last one received; empty: a full dump"),
            ("dedup older layers", "yes" if newest else "no", "yes: they lose what no layer needs"),
        )
        super().__init__(f"Receive a layer into {stack.name}", text, fields, used)

    def checked(self, answer: Where) -> Where | str:
        """The parent must be there."""
        if answer.word and ("/" in answer.word or not (self._stack / answer.word / "inventory.img").exists()):
            return f"there is no layer {answer.word} in {self._stack}"
        return answer

    def command(self, answer: Where) -> str:
        """`lamina page-server …`."""
        on = f"../{answer.word}" if answer.word else None
        return command_lines.receive_line(self._layer, on, answer.host, answer.port, answer.option)


def address_of(text: str) -> tuple[str, int]:
    """ADDRESS:PORT, where ADDRESS may be a name, a number, or a number of IPv6 in brackets.

    Raises:
        ValueError: it is none, in words.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not host.isprintable() or " " in host:
        raise ValueError("an address and a port, as in 10.0.0.2:9999")
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{port or 'nothing'} is no port")
    return host, int(port)


def ask_send(app: BaseApp, subject: Subject) -> None:
    """Ask where to, and send."""

    def answered(where: Where | None) -> None:
        if where is None:
            return
        app.bridge.ask("address typed", lambda: keep_line(f"{where.host}:{where.port}", ADDRESSES))
        companion = app.terminals.companion_of(subject.pid)
        operation = page_server.send(
            subject.pid, subject.name, subject.stack, where.host, where.port, int(where.word), final=where.option, companion=companion
        )
        app.do(operation)

    try:
        look_up(subject.pid, app.session.stack_option)
    except TargetError as error:
        app.notify(str(error), severity="error")
        return
    app.push_screen(SendDialog(subject.pid, subject.name, read_lines(ADDRESSES)), answered)


def ask_receive(app: BaseApp, stack: Path, newest: LayerRow | None) -> None:
    """Ask where to listen, and wait there."""

    def answered(where: Where | None) -> None:
        if where is not None:
            parent = stack / where.word if where.word else None
            app.do(page_server.receive(stack, parent, where.host, where.port, where.option and parent is not None))

    app.push_screen(ReceiveDialog(stack, newest.name if newest else "", []), answered)

"""What a sender and a page server say to each other besides pages: what they are, the parent of the layer, and that it arrived."""

from contextlib import suppress
from dataclasses import dataclass, replace

from lamina.core.errors import TransferError, Unanswered
from lamina.core.ffi import C
from lamina.core.image.layer import Object
from lamina.core.transfer import wire
from lamina.core.transfer.connection import PATIENCE_S, Address, Connection, connect
from lamina.core.transfer.tls import Tls
from lamina.core.transfer.wire import Answer, Command, Frame, Home


@dataclass(frozen=True)
class Server:
    """A page server, as the command line names it.

    Attributes:
        address: where it listens.
        wire: bytes of a frame: 24 for criu up to 4.1.1, 32 for criu 4.2; a lamina takes both.
        tls: how the connection is secured, or None.
        patience_s: how long it may be silent, seconds.
    """

    address: Address
    wire: int = C.LM_FRAME_32
    tls: Tls | None = None
    patience_s: float = PATIENCE_S


# -- the conversation --------------------------------------------------------------------------------------------------------------


class Conversation:
    """A connection to a page server, and what it said of itself.

    Attributes:
        lamina: it is one, so pages may go in any order.
        home: where it keeps the layer; empty fields if it did not say.
    """

    def __init__(self, server: Server) -> None:
        """Raises:
        TransferError: nobody is there, or does not answer.
        """
        self.server = server
        self.home = Home("", "")
        tls = replace(server.tls, server_name=server.address.host) if server.tls else None
        cut = wire.Records(server.wire)
        self.connection = Connection(connect(server.address, server.patience_s), server.patience_s, tls, cut=cut)
        try:
            # Any object will do: the question is who answers.
            self.send(Command.PARENT, wire.HELLO, 0, wire.object_id(1))
            said = self._answer()
        except TransferError as error:
            self.connection.close()
            other = " ".join(str(form) for form in wire.FORMS if form != server.wire)
            if error.what == "refused by":
                raise
            fix = f"it may be serving another dump; a criu may want --wire {other}"
            raise replace(error, fix=fix) from error
        self.lamina = said & ~1 == wire.GREETED

    def send(self, command: Command, pages: int = 0, vaddr: int = 0, dst_id: int = 0) -> None:
        """One frame."""
        try:
            self.connection.send(Frame(command, pages, vaddr, dst_id).encode(self.server.wire))
        except TransferError as error:
            raise self.last_words() or error from error

    def _answer(self) -> int:
        value = wire.read_answer(self.connection.receive(4))
        if value == Answer.REFUSED:
            raise self._refused()
        return value

    def _refused(self) -> TransferError:
        try:
            text = self.connection.receive(wire.words_length(self.connection.receive(4))).decode(errors="replace")
        except TransferError:
            text = "it refused without a reason"
        return TransferError("refused by", f"page server {self.server.address}", text)

    def last_words(self) -> TransferError | None:
        """Why a lamina ended the connection, if it said so."""
        with suppress(TransferError):
            if self.connection.pending() and wire.read_answer(self.connection.receive(4)) == Answer.REFUSED:
                return self._refused()
        return None

    def heard(self) -> None:
        """Nothing is to be heard while pages go out.

        Raises:
            TransferError: it refuses, or has gone.
        """
        if self.connection.pending():
            raise self.last_words() or self.connection.failed(0)

    def ask(self, token: str) -> bool:
        """Whether it has the whole layer that goes by *token*."""
        self.send(Command.ASK, vaddr=int(token, 16))
        return self._answer() == 1

    def announce(self, layer_id: str, parent_id: str) -> None:
        """Say which layer comes, and on which it stands."""
        self.send(Command.LAYER, 0, wire.token(layer_id), wire.token(parent_id))
        if self._answer() != Answer.DONE:
            raise TransferError("cannot use", f"page server {self.server.address}", "a wrong answer came")
        text = self.connection.receive(wire.words_length(self.connection.receive(4)))
        self.home = Home.decode(text.decode(errors="replace"))

    def open(self, which: Object) -> bool:
        """Begin an object; returns whether the receiver's parent has it."""
        self.send(Command.OPEN2, dst_id=wire.object_id(which))
        return bool(self.connection.receive(1)[0])

    def close(self) -> None:
        """Let the receiver commit, and wait until it has.

        Raises:
            TransferError: it refused: there is no layer there.
            Unanswered: the connection was lost before it said anything.
        """
        self.send(Command.CLOSE)
        try:
            while (said := self._answer()) == Answer.BUSY:
                pass
        except TransferError as error:
            if error.what == "refused by":
                raise
            fix = "the next command on this stack finds out, and finishes or removes what is here"
            raise Unanswered(error.what, error.obj, f"{error.why} before it said whether the layer is whole there", fix) from error
        if said != Answer.DONE:
            raise TransferError("cannot use", f"page server {self.server.address}", f"it answered {said} to the end of the dump")

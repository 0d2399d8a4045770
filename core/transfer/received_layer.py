"""One connection to a page server, from the first frame to the layer that it leaves.

What arrives becomes a layer of memory only, a pre-dump by its inventory, until the sender's other images are copied beside it. The
sender's CLOSE is the commit: before it nothing is there, after it everything, on the disk. Then, with --auto-dedup, the ancestors lose the
pages that no layer needs any more.
"""

import contextlib
import os
import platform
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from lamina.core.attach.identity import boot_id
from lamina.core.dirty.runs import PAGE
from lamina.core.errors import ImageError, LaminaError, TransferError
from lamina.core.events import CancelToken, Listener, Progress
from lamina.core.image.draft import LayerDraft
from lamina.core.image.format import INVENTORY
from lamina.core.image.layer import Layer
from lamina.core.image.lock import locked, stack_of
from lamina.core.image.schema import inventory_entry
from lamina.core.image.sidecar import RECEIVED_NAME, Sidecar, new_layer_id
from lamina.core.image.stack import Stack
from lamina.core.image.sums import sum_file
from lamina.core.rewrite.dedup import dedup
from lamina.core.transfer import wire
from lamina.core.transfer.connection import PATIENCE_S, Address, Connection, repeating
from lamina.core.transfer.incoming import Came, Incoming, layer_token
from lamina.core.transfer.tls import Tls
from lamina.core.transfer.wire import Answer, Command, Frame, Home

_PRE_DUMP_READ = 2
# Descriptors that are not for pages files.
_SPARE = 64


@dataclass(frozen=True)
class ServerRequest:
    """One `lamina page-server`.

    Attributes:
        images_dir: an existing directory that holds no layer yet; becomes the layer.
        address: where to listen.
        prev_images_dir: the parent, relative to `images_dir`; None if the sender may inherit nothing.
        auto_dedup: after the commit the ancestors lose what the new layer holds, and what no layer needs of them any more.
        tls: how connections are secured, or None.
        patience_s: how long a sender may be silent, seconds.
    """

    images_dir: Path
    address: Address = field(default_factory=Address)
    prev_images_dir: str | None = None
    auto_dedup: bool = False
    tls: Tls | None = None
    patience_s: float = PATIENCE_S


@dataclass(frozen=True)
class Received:
    """A layer that arrived.

    Attributes:
        images_dir: the layer.
        peer: who sent it.
        form: bytes of a frame on the wire.
        from_lamina: whether a lamina sent it.
        pages: its own pages; pages_received: with those that were sent again.
        elapsed_us: from the first task to the commit, µs.
        bytes_freed: what the ancestors gave back.
        notices: sentences the user should read.
    """

    images_dir: Path
    peer: str
    form: int
    from_lamina: bool
    pages: int
    pages_received: int
    elapsed_us: int
    bytes_freed: int = 0
    notices: tuple[str, ...] = ()


@contextmanager
def open_draft(request: ServerRequest) -> Iterator[LayerDraft]:
    """The layer that will be written, with its stack held."""
    with locked(stack_of(request.images_dir)), LayerDraft.create(request.images_dir, request.prev_images_dir) as draft:
        for member in draft.parent.chain() if draft.parent else ():
            if where := member.pages_elsewhere:
                raise ImageError("cannot use as parent", str(member.path), f"its pages are at page server {where}")
        yield draft


class Session:
    """One connection.

    Attributes:
        peer: who is at the other end.
        begun: a dump arrives; until then somebody may only ask.
    """

    def __init__(
        self, request: ServerRequest, connection: Connection, listener: Listener, notice: Callable[[str], None], cancel: CancelToken
    ) -> None:
        self.request = request
        self._connection = connection
        self._listener = listener
        self._notice = notice
        self._cancel = cancel
        self._lamina = False
        self._layer_id = new_layer_id()
        self._began = time.monotonic_ns()
        self.peer = connection.peer
        self.begun = threading.Event()
        self._answered = False

    def run(self) -> Received | None:
        """Receive the layer; None if the other side only asked something.

        Raises:
            LaminaError: it did not arrive.
        """
        with ExitStack() as stack:
            try:
                draft = stack.enter_context(open_draft(self.request))
                self._incoming = Incoming(self._connection, draft)
                closing = self._frames(draft)
                if closing is None:
                    return None
                received = self._commit(draft)
            except LaminaError as error:
                self._refuse(error)
                raise
            self._answer_closing(closing)
            self._sum()
            return replace(received, bytes_freed=self._dedup()) if self.request.auto_dedup and self.request.prev_images_dir else received

    def _refuse(self, error: LaminaError) -> None:
        """A lamina is told why. A criu would take words for an answer, but to its first question any refusal is one."""
        if self._lamina or not self._answered:
            self._connection.finish(wire.answer(Answer.REFUSED) + wire.words(str(error)))

    # -- frames ----------------------------------------------------------------------------------------------------------------------

    def _frames(self, draft: LayerDraft) -> Frame | None:
        """All frames up to CLOSE, which is returned; None if the other side only asked."""
        while True:
            frame = self._incoming.next()
            self._cancel.check("page server")
            if frame is Came.STEP:
                self._tell()
            elif not isinstance(frame, Frame):
                self._ended()
                return None
            elif frame.cmd in (Command.CLOSE, Command.FORCE_CLOSE):
                return frame
            else:
                self._handle(frame, draft)

    def _ended(self) -> None:
        if not self.begun.is_set():
            return
        peer = self._connection.peer
        raise TransferError("lost", f"the connection to {peer}", "it ended before the sender said that this was all")

    def _handle(self, frame: Frame, draft: LayerDraft) -> None:
        self._answered = True
        peer = f"from {self._connection.peer}"
        match frame.cmd:
            case Command.PARENT:
                self._parent(frame)
            case Command.OPEN2 | Command.OPEN:
                if not self._incoming.objects:
                    self._began = time.monotonic_ns()
                self.begun.set()
                self._limit_objects()
                has_parent = self._incoming.open(frame.dst_id)
                if frame.cmd == Command.OPEN2:
                    self._connection.send(bytes([has_parent]))
            case Command.LAYER if self._lamina:
                self._layer(frame, draft)
            case Command.ASK if self._lamina:
                self._connection.send(wire.answer(_has_whole(self.request.images_dir, frame.vaddr)))
            case Command.GET:
                raise TransferError("cannot receive", peer, "it asks for pages: this page server only takes them")
            case _:
                raise TransferError("cannot receive", peer, f"a wrong frame came: command {frame.cmd:#x}")

    def _parent(self, frame: Frame) -> None:
        which = wire.object_of(frame.dst_id)
        found = int(self._incoming.parent_has(which))
        if frame.pages == wire.HELLO:
            self._lamina = True
            found |= wire.GREETED
        else:
            self.begun.set()
        self._connection.send(wire.answer(found))

    def _layer(self, frame: Frame, draft: LayerDraft) -> None:
        """A lamina says which layer it sends, and on which it stands: inherited pages must come from the same one here."""
        self.begun.set()
        self._incoming.any_order()
        self._layer_id = f"{frame.vaddr:016x}{new_layer_id()[16:]}"
        if frame.dst_id:
            if draft.parent is None:
                why = "the dump has a parent, and the page server was started without one"
                raise TransferError("cannot receive", f"layer {self.request.images_dir}", why, "give it --prev-images-dir")
            here = layer_token(draft.parent)
            if here != frame.dst_id:
                why = f"the parent of the dump is not {draft.parent.path}, which the page server was started with"
                raise TransferError("cannot receive", f"layer {self.request.images_dir}", why, "start it on the layer that was sent before")
        home = Home(boot_id(), str(self.request.images_dir.resolve()))
        self._connection.send(wire.answer(Answer.DONE) + wire.words(home.encode()))

    def _limit_objects(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < hard:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
                soft = hard
        if len(self._incoming.objects) + _SPARE >= soft:
            why = f"more than {soft - _SPARE} tasks: each needs an open file"
            raise TransferError("cannot receive", f"from {self._connection.peer}", why, "raise the limit on open files (ulimit -n)")

    def _tell(self) -> None:
        received = self._incoming.bytes
        took_us = (time.monotonic_ns() - self._began) // 1000
        self._listener(Progress("receive", received // PAGE, 0, received, took_us))

    # -- the commit ------------------------------------------------------------------------------------------------------------------

    def _commit(self, draft: LayerDraft) -> Received:
        self._tell()
        beat = wire.answer(Answer.BUSY)
        with repeating(lambda: self._connection.send(beat), 1.0) if self._lamina else contextlib.nullcontext():
            pages = self._incoming.finish()
            draft.put("inventory", INVENTORY, [inventory_entry(img_version=2, pre_dump_mode=_PRE_DUMP_READ)])
            sidecar = self._sidecar(draft)
            draft.put_bytes(RECEIVED_NAME, sidecar.of_pages().to_json().encode("ascii"))
            self._cancel.check("page server")
            # The sender's inventory will take the place of this one; pages are summed when nobody waits any more.
            draft.commit(sidecar, unsummed=("inventory.img", RECEIVED_NAME, *self._incoming.pages_files))
        return Received(
            images_dir=self.request.images_dir,
            peer=self._connection.peer,
            form=self._incoming.form,
            from_lamina=self._lamina,
            pages=pages,
            pages_received=self._incoming.bytes // PAGE,
            elapsed_us=(time.monotonic_ns() - self._began) // 1000,
        )

    def _sidecar(self, draft: LayerDraft) -> Sidecar:
        name = os.uname()
        above = draft.parent.sidecar if draft.parent else None
        return Sidecar(
            layer_id=self._layer_id,
            parent_id=above.layer_id if above else None,
            time=time.time(),
            host=name.nodename,
            kernel=f"{name.sysname} {name.release} {platform.machine()}",
            tracker=f"sent by {self._connection.peer}",
            memory_only=True,
            made_by="page-server",
        )

    def _answer_closing(self, closing: Frame) -> None:
        """The layer is there whether or not the sender hears of it: it asks again if it does not."""
        try:
            self._connection.send(wire.answer(Answer.DONE))
        except TransferError as error:
            self._notice(f"the layer is committed, but the sender was not told: {error}")

    def _sum(self) -> None:
        """Record what the pages files hold."""
        try:
            layer = Layer(self.request.images_dir)
            sums = {}
            for name in self._incoming.pages_files:
                with layer.open(name) as content:
                    if content.fd is not None:
                        sums[name] = sum_file(content.fd)
            sidecar = layer.sidecar
            if sidecar is not None:
                replace(sidecar, checksums={**sidecar.checksums, **sums}).store_received(layer.directory)
        except (OSError, LaminaError) as error:
            self._notice(f"the layer is committed, but without checksums of its pages: {error}")

    def _dedup(self) -> int:
        try:
            plan, freed = dedup(Layer(self.request.images_dir), self._listener, locked_already=True, unreached=True)
            names = ", ".join(dict.fromkeys(cut.layer.name for cut in plan.cuts))
            if names:
                self._notice(f"{freed >> 10} KiB were taken out of {names}")
            return freed
        except LaminaError as error:
            self._notice(f"the layer is committed, but its ancestors keep their copies: {error}")
            return 0


def _has_whole(images_dir: Path, token: int) -> int:
    """Whether a layer that goes by *token* is in the stack of *images_dir*."""
    try:
        layers = Stack.open(stack_of(images_dir)).layers
    except ImageError:
        return 0
    return int(any(layer_token(layer) == token for layer in layers))

"""Damaged conversations with a page server, each to its end: one line or a whole layer, in bounded time and memory, and no half of it."""

import os
import random
import resource
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from lamina.core.errors import LaminaError
from lamina.core.events import CancelToken, ignore
from lamina.core.image.layer import Layer
from lamina.core.transfer.connection import Connection
from lamina.core.transfer.received_layer import Received, ServerRequest, Session
from lamina.core.verify import State, verify_layer
from tests.unit.transfer.peers import (
    ADD_F,
    ASK,
    CLOSE,
    FORGET,
    HELLO,
    IN_PARENT,
    LAYER,
    LAZY,
    OPEN2,
    PAGE,
    PARENT,
    PRESENT,
    frame,
    page,
    task,
)  # fmt: skip

CASES = 10_000 if os.environ.get("LAMINA_LIVE") == "full" else 120
SEED = int(os.environ.get("LAMINA_FUZZ_SEED", "1"))
MORE_MEMORY_KIB = 64 << 10
AT = 0x7F00_0000_0000


def said(dice: random.Random, form: int) -> list[bytes]:
    """A conversation as it should be: the frames, each with its pages."""
    lamina = dice.random() < 0.6
    parts = [frame(form, PARENT, task(7), pages=HELLO if lamina else 0)]
    if lamina:
        parts += [frame(form, LAYER, 1, 2)] * (dice.random() < 0.9) + [frame(form, ASK, vaddr=3)] * (dice.random() < 0.2)
    for pid in range(7, 7 + dice.randint(1, 3)):
        parts.append(frame(form, OPEN2, task(pid)))
        at = 0
        for _ in range(dice.randint(0, 12)):
            count = dice.randint(1, 5)
            flags = dice.choice((PRESENT, PRESENT, PRESENT | LAZY, IN_PARENT))
            data = b"".join(page(dice.getrandbits(60)) for _ in range(count)) if flags & PRESENT else b""
            parts.append(frame(form, ADD_F | flags << 16, task(pid), AT + at * PAGE, count) + data)
            at += count + dice.randint(0, 2)
            if lamina and dice.random() < 0.2:
                at = 0
        if lamina and dice.random() < 0.5:
            parts.append(frame(form, FORGET, task(pid), AT, 1))
    return [*parts, frame(form, CLOSE)]


def damaged(dice: random.Random, parts: list[bytes]) -> bytes:
    """The same with something wrong with it, mostly in the frames."""
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(len(parts))
        raw = bytearray(parts[at])
        match dice.randrange(6):
            case 0:
                raw[dice.randrange(min(len(raw), 32))] = dice.getrandbits(8)
            case 1:
                raw[dice.randrange(min(len(raw), 32))] ^= 1 << dice.randrange(8)
            case 2:
                del raw[dice.randrange(len(raw)) :]
            case 3:
                parts.insert(dice.randrange(len(parts)), bytes(raw))
            case 4:
                raw[:32] = dice.randbytes(32)
            case 5:
                raw[8 : 16] = dice.choice((b"\xff" * 8, b"\0" * 8, b"\0\0\0\0\0\0\0\x80"))  # fmt: skip
        parts[at] = bytes(raw)
    return b"".join(parts)


def parent(place: Path) -> None:
    """A layer that has the pages which may be inherited."""
    parts = [frame(32, PARENT, task(7), pages=HELLO), frame(32, LAYER, 0, 1)]
    for pid in (7, 8, 9):
        parts += [frame(32, OPEN2, task(pid)), frame(32, ADD_F | PRESENT << 16, task(pid), AT, 40) + page(1) * 40]
    found = receive(place, None, b"".join([*parts, frame(32, CLOSE)]))
    assert isinstance(found, Received), found


def receive(place: Path, on: str | None, data: bytes) -> Received | LaminaError | None:
    """What a page server makes of *data*."""
    place.mkdir()
    ours, theirs = socket.socketpair()

    def talk() -> None:
        with suppress(OSError):
            theirs.sendall(data)
            theirs.shutdown(socket.SHUT_WR)
            while theirs.recv(1 << 16):
                pass

    speaker = threading.Thread(target=talk, daemon=True)
    speaker.start()
    connection = Connection(ours, 20.0)
    try:
        request = ServerRequest(place, prev_images_dir=on, auto_dedup=False)
        return Session(request, connection, ignore, lambda _text: None, CancelToken()).run()
    except LaminaError as error:
        return error
    finally:
        connection.close()
        speaker.join(20)
        theirs.close()


@pytest.mark.parametrize("form", [24, 32])
def test_damaged_conversations(form: int, tmp_path: Path, tally: Counter[str]) -> None:
    parent(tmp_path / "0")
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in range(CASES // 2):
        dice = random.Random(f"{SEED} {form} {case}")
        place = tmp_path / "1"
        data = damaged(dice, said(dice, form))
        began = time.monotonic()
        found = receive(place, "../0", data)
        assert time.monotonic() - began < 30, case
        if isinstance(found, Received):
            report = verify_layer(Layer(place)).reports[0]
            assert report.state is State.MEMORY_ONLY, (case, report.why)
            tally["damaged conversations with a page server that were whole all the same"] += 1
        else:
            assert "\n" not in str(found), case
            assert os.listdir(place) == [], case
        for name in sorted(place.iterdir()):
            name.unlink()
        place.rmdir()
    tally["damaged conversations with a page server"] += CASES // 2
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # the sanitizer keeps what was freed
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used < MORE_MEMORY_KIB

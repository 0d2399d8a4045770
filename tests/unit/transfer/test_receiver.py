"""The page server against peers that say what criu says, what lamina says, and what nobody should."""

import os
import socket
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.image.layer import Layer
from lamina.core.image.owners import resolve
from lamina.core.verify import State, verify_layer
from tests.unit.transfer.peers import (
    ADD_F,
    ASK,
    CLOSE,
    FORGET,
    GET,
    HELLO,
    IN_PARENT,
    LAYER,
    LAZY,
    OPEN2,
    PAGE,
    PARENT,
    PRESENT,
    Peer,
    page,
    running,
    task,
)  # fmt: skip

FORMS = pytest.mark.parametrize("form", [24, 32])
AT = 0x7F00_0000_0000
ME = task(4711)


def contents(layer: Layer, which: int | str = 4711) -> dict[int, int]:
    """What each page that the layer reaches holds, by its number counted from AT."""
    found = {}
    for share in resolve(layer.chain(), which).shares:
        with share.open() as content:
            for (start, end), offset in zip(share.runs, share.offsets.tolist(), strict=True):
                for at in range(0, end - start, PAGE):
                    data = content.pread(PAGE, offset + at)
                    number = struct.unpack_from("<Q", data)[0]
                    assert data == page(number)
                    found[(start + at - AT) // PAGE] = number
    return found


def nothing_is_left(images_dir: Path) -> None:
    assert os.listdir(images_dir) == []


@FORMS
def test_a_dump_as_criu_sends_it(form: int, tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer(form)
        peer.say(PARENT, ME)
        assert peer.number() == 0
        assert not peer.open(ME)
        peer.add(ME, AT, [1, 2, 3])
        peer.add(ME, AT + 3 * PAGE, [4], PRESENT | LAZY)
        peer.add(ME, AT + 9 * PAGE, [5])
        assert not peer.open(7 << 8 | 2)
        peer.add(7 << 8 | 2, 0, [6])
        assert peer.close() == 0
        received = server.end()
    layer = Layer(tmp_path / "1")
    assert (received.form, received.pages, received.from_lamina) == (form, 6, False)
    assert contents(layer) == {0: 1, 1: 2, 2: 3, 3: 4, 9: 5}
    assert layer.objects == (4711, "shmem-7")
    pagemap = layer.pagemap(4711)
    assert pagemap.pages_id == 0x10001 and pagemap.flags.tolist() == [4, 6, 4] and pagemap.pages.tolist() == [3, 1, 1]
    assert verify_layer(layer).reports[0].state is State.MEMORY_ONLY
    assert layer.is_pre_dump


@FORMS
def test_an_increment_as_criu_sends_it(form: int, tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer(form)
        peer.open(ME)
        peer.add(ME, AT, [1, 2, 3])
        peer.close()
        server.end()
    with running(tmp_path / "2", prev_images_dir="../1", auto_dedup=True) as server:
        peer = server.peer(form)
        peer.say(PARENT, ME)
        assert peer.number() == 1
        assert peer.open(ME)
        peer.parent(ME, AT, 1)
        peer.add(ME, AT + PAGE, [20])
        peer.close()
        received = server.end()
    layer = Layer(tmp_path / "2")
    assert contents(layer) == {0: 1, 1: 20}
    assert received.bytes_freed == 2 * PAGE  # what the new layer has itself, and what it has no more


def test_the_first_frame_tells_the_form_even_in_pieces(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer(24)
        peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in struct.pack("<IIQQ", OPEN2, 0, 0, ME):
            peer.sock.sendall(bytes([byte]))
            time.sleep(0.002)  # time is the subject: each byte arrives by itself
        assert peer.read(1) == b"\0"
        assert peer.close() == 0
        assert server.end().form == 24


# -- between two laminas -------------------------------------------------------------------------------------------------------------


@FORMS
def test_the_last_copy_of_a_page_counts(form: int, tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer(form)
        peer.hello()
        peer.open(ME)
        peer.add(ME, AT + 4 * PAGE, [4, 5, 6, 7])
        peer.add(ME, AT, [0, 1])
        peer.add(ME, AT + PAGE, [11, 12, 13, 14])  # over 1 and 4, and 2 and 3 are new
        peer.say(FORGET, ME, AT + 6 * PAGE, 1)
        peer.close()
        server.end()
    assert contents(Layer(tmp_path / "1")) == {0: 0, 1: 11, 2: 12, 3: 13, 4: 14, 5: 5, 7: 7}
    assert verify_layer(Layer(tmp_path / "1")).reports[0].state is State.MEMORY_ONLY


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.booleans()), min_size=1, max_size=60))
def test_pages_in_any_order_make_the_memory_they_should(
    tmp_path_factory: pytest.TempPathFactory, runs: list[tuple[int, int, bool]]
) -> None:
    place = tmp_path_factory.mktemp("any") / "1"
    model: dict[int, int] = {}
    with running(place) as server:
        peer = server.peer()
        peer.hello()
        peer.open(ME)
        gone: set[int] = set()
        for number, (first, count, _) in enumerate(runs):
            values = [number * 1000 + at for at in range(count)]
            peer.add(ME, AT + first * PAGE, values)
            model |= dict(zip(range(first, first + count), values, strict=True))
        for first, _, forget in runs:
            if forget and first in model and first not in gone:
                peer.say(FORGET, ME, AT + first * PAGE, 1)
                gone.add(first)
        peer.close()
        server.end()
    layer = Layer(place)
    assert contents(layer) == {at: value for at, value in model.items() if at not in gone}
    assert layer.info("pages-65537.img").size == layer.pagemap(4711).data_bytes  # type: ignore[union-attr]


def test_a_lamina_that_stands_on_another_parent_is_refused_before_a_page(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.hello(layer=0xABC)
        peer.open(ME)
        peer.close()
        server.end()
    for parent, options, words in (
        (0xDEF, {"prev_images_dir": "../1"}, "the parent of the dump is not"),
        (0xABC, {}, "was started without one"),
    ):
        with running(tmp_path / "2", **options) as server:
            peer = server.peer()
            peer.say(PARENT, ME, pages=HELLO)
            peer.number()
            peer.say(LAYER, parent, 0x123)
            assert words in peer.refused()
            assert words in server.failed()
        nothing_is_left(tmp_path / "2")


def test_who_only_asks_is_answered_and_the_next_is_served(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.hello(layer=0xABC)
        peer.open(ME)
        peer.close()
        server.end()
    with running(tmp_path / "2") as server:
        asking = server.peer()
        asking.say(PARENT, ME, pages=HELLO)
        asking.number()
        for token, there in ((0xABC, 1), (0xABD, 0)):
            asking.say(ASK, vaddr=token)
            assert asking.number() == there
        asking.sock.close()
        server.peer().sock.close()  # a look whether somebody listens
        peer = server.peer()
        peer.open(ME)
        peer.close()
        server.end()


# -- what may not be said ------------------------------------------------------------------------------------------------------------


def wrong_frames(peer: Peer, which: str) -> None:  # noqa: PLR0912  # one case each
    match which:
        case "command":
            peer.say(0x77, ME)
        case "opened twice":
            peer.open(ME)
            peer.say(OPEN2, ME)
        case "same task by an old number":
            peer.open(ME)
            peer.say(OPEN2, 4711 << 8 | 10)
        case "no such object":
            peer.say(OPEN2, 4711 << 8 | 99)
        case "not opened":
            peer.open(ME)
            peer.add(task(4712), AT, [1])
        case "no pages":
            peer.open(ME)
            peer.say(ADD_F | PRESENT << 16, ME, AT, 0)
        case "no page":
            peer.open(ME)
            peer.say(ADD_F | PRESENT << 16, ME, AT + 1, 1)
        case "wraps":
            peer.open(ME)
            peer.say(ADD_F | PRESENT << 16, ME, 2**64 - PAGE, 2)
        case "order":
            peer.open(ME)
            peer.add(ME, AT + PAGE, [1])
            peer.add(ME, AT, [2])
        case "overlap":
            peer.open(ME)
            peer.add(ME, AT, [1, 2])
            peer.add(ME, AT + PAGE, [2])
        case "lazy":
            peer.open(ME)
            peer.say(ADD_F | LAZY << 16, ME, AT, 1)
        case "both":
            peer.open(ME)
            peer.say(ADD_F | (PRESENT | IN_PARENT) << 16, ME, AT, 1)
        case "lacking":
            peer.open(ME)
            peer.parent(ME, AT, 1)
        case "asked":
            peer.say(GET, 4711, AT, 1)
        case "lamina's own":
            peer.open(ME)
            peer.say(FORGET, ME, AT, 1)


@FORMS
@pytest.mark.parametrize(
    ("which", "words"),
    [
        ("command", "command 0x77"),
        ("opened twice", "second time"),
        ("same task by an old number", "second time"),
        ("no such object", "is no object"),
        ("not opened", "was not opened"),
        ("no pages", "no run of pages"),
        ("no page", "no run of pages"),
        ("wraps", "no run of pages"),
        ("order", "does not lie behind"),
        ("overlap", "does not lie behind"),
        ("lazy", "lazy dump"),
        ("both", "flags 0x5"),
        ("lacking", "does not have them"),
        ("asked", "asks for pages"),
        ("lamina's own", "command 0x4c03"),
    ],
)
def test_a_wrong_frame_ends_it_in_one_line_and_nothing_is_left(form: int, which: str, words: str, tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer(form)
        peer.say(PARENT, ME)
        peer.number()
        wrong_frames(peer, which)
        assert words in server.failed()
        assert peer.gone()
    nothing_is_left(tmp_path / "1")


def test_pages_that_are_sent_and_inherited_are_refused(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.hello(layer=5)
        peer.open(ME)
        peer.add(ME, AT, [1])
        peer.close()
        server.end()
    with running(tmp_path / "2", prev_images_dir="../1") as server:
        peer = server.peer()
        peer.hello(layer=6, parent=5)
        peer.open(ME)
        peer.add(ME, AT, [2])
        peer.parent(ME, AT, 1)
        peer.say(CLOSE)
        assert "both" in peer.refused()
        assert "both" in server.failed()
    nothing_is_left(tmp_path / "2")


def test_an_endless_frame_is_refused_before_its_first_page(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.hello()
        peer.open(ME)
        peer.say(ADD_F | PRESENT << 16, ME, 0, 1 << 45)
        assert "no space left" in peer.refused()
        assert "no space left" in server.failed()
    nothing_is_left(tmp_path / "1")


def test_pages_in_no_order_at_all_are_refused(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.hello()
        peer.open(ME)
        for number in range(64):
            peer.add(ME, AT + (1000 - number) * PAGE, [1])
        peer.add(ME, AT, [1])
        assert "no order" in peer.refused()
        assert "no order" in server.failed()


@pytest.mark.parametrize("cut", ["in a frame", "in a page", "before CLOSE"])
def test_a_cut_connection(cut: str, tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.open(ME)
        peer.add(ME, AT, [1, 2])
        if cut == "in a frame":
            peer.sock.sendall(b"\6\0\4\0\0")
        elif cut == "in a page":
            peer.say(ADD_F | PRESENT << 16, ME, AT + 8 * PAGE, 2, b"x" * 5000)
        peer.sock.close()
        assert "connection" in server.failed()
    nothing_is_left(tmp_path / "1")


@pytest.mark.parametrize("when", ["at once", "in a page", "slowly"])
def test_one_that_falls_silent(when: str, tmp_path: Path) -> None:
    with running(tmp_path / "1", patience_s=0.5) as server:
        peer = server.peer()
        if when != "at once":
            peer.open(ME)
            peer.say(ADD_F | PRESENT << 16, ME, AT, 1000, b"x" * 5000)
        end = time.monotonic() + 10
        try:
            while when == "slowly" and server.thread and server.thread.is_alive() and time.monotonic() < end:
                peer.sock.sendall(b"y")
                time.sleep(0.05)  # time is the subject: it is never silent for long, and never gets on
        except OSError:
            pass
        assert ("too slowly" if when == "slowly" else "silent for 0.5 s") in server.failed()
    nothing_is_left(tmp_path / "1")


def test_a_second_client_is_told(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.open(ME)
        second = server.peer()
        second.say(PARENT, ME)
        assert "it is serving 127.0.0.1" in second.refused()
        peer.add(ME, AT, [1])
        peer.close()
        server.end()
        assert any("was turned away" in notice for notice in server.notices)
    assert contents(Layer(tmp_path / "1")) == {0: 1}


def test_cancelling_ends_it_at_once(tmp_path: Path) -> None:
    with running(tmp_path / "1") as server:
        peer = server.peer()
        peer.open(ME)
        server.cancel.cancel()
        assert "cancelled" in server.failed()
        assert peer.gone()
    nothing_is_left(tmp_path / "1")

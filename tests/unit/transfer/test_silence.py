"""A receiver that hangs and does not close: whoever sends to it gives up after the time that was given, once, whatever went before."""

import errno
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from lamina.core.errors import NativeError, TransferError
from lamina.core.ffi import C, check, ffi, new_error
from lamina.core.transfer.connection import Connection

PATIENCE_S = 1.5
MUCH = 64 << 20  # more than a connection takes by itself


@pytest.fixture
def connection() -> Iterator[Connection]:
    """To one that never reads."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        with server.accept()[0]:
            found = Connection(ours, PATIENCE_S)
            yield found
            found.close()


def from_python(connection: Connection) -> str:
    with pytest.raises(TransferError) as caught:
        connection.send(bytes(MUCH))
    return str(caught.value)


def from_c(connection: Connection) -> str:
    memory, buffer = ffi.new("uint8_t[]", MUCH), ffi.new("uint8_t[]", 1 << 20)
    source = ffi.new("lm_send_source *", {"mem": -1, "fd": -1, "base": memory, "buffer": buffer, "size": 1 << 20})
    runs = [ffi.new("uint64_t[1]", [at]) for at in (1 << 30, (1 << 30) + MUCH, 0)]
    lost, err, kinds = ffi.gc(ffi.new("lm_array *"), C.lm_array_free), new_error(), ffi.new("uint8_t[1]", [C.LM_SEND_MEMORY])
    with pytest.raises(NativeError) as caught:
        check(C.lm_pagesend(connection.fileno(), 24, 1, *runs, kinds, 1, source, lost, err), err)
    assert (caught.value.where, caught.value.errnum) == ("sendmsg", errno.EAGAIN)
    return str(connection.failed(caught.value.errnum))


@pytest.mark.parametrize("send", [from_python, from_c])
def test_it_is_waited_for_once(connection: Connection, send: Callable[[Connection], str]) -> None:
    began = time.monotonic()
    assert "it was silent for 1.5 s" in send(connection)
    assert PATIENCE_S <= time.monotonic() - began < 1.8 * PATIENCE_S  # time is the subject

"""The table of kinds. A new one is a file in this room and one line here."""

from typing import Final

from lamina.core.kinds.files.chardev import SimpleDevice
from lamina.core.kinds.files.epoll import Epoll
from lamina.core.kinds.files.eventfd import EventFd
from lamina.core.kinds.files.fifo import Fifo
from lamina.core.kinds.files.pipe import Pipe
from lamina.core.kinds.files.regfile import RegularFile
from lamina.core.kinds.files.tty import Terminal
from lamina.core.kinds.sockets.inet import TcpListener
from lamina.core.kinds.sockets.unix import UnixSocket
from lamina.core.kinds.unsupported import unsupported
from lamina.core.objects.kind import KindTable

DESCRIPTORS: Final = KindTable(
    (
        Pipe(),
        Fifo(),
        UnixSocket(),
        TcpListener(),
        Epoll(),
        EventFd(),
        Terminal(),
        SimpleDevice(),
        RegularFile(),
    ),
    unsupported,
)
"""Kinds of open file descriptions; the first that recognises one has it."""

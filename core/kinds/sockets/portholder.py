"""Who listens on a port, for messages."""

import psutil

from lamina.core.attach.procfs import describe


def holder_of_port(port: int, family: int) -> tuple[int, str]:
    """The process that listens on a TCP port, as (pid, words); pid 0 if it cannot be seen.

    An IPv6 socket may hold the port for IPv4 as well, so both are looked at, *family* first.
    """
    seen: list[tuple[bool, int]] = []
    for connection in psutil.net_connections("tcp"):
        if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
            seen.append((connection.family != family, connection.pid or 0))
    if not seen:
        return 0, "the port is taken, by closing connections or by a process of another user"
    pid = min(seen)[1]
    return pid, f"{describe(pid)} listens there" if pid else "another program listens there"

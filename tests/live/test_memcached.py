"""memcached, whose listening sockets have options that no image has a field for: dumped, restored, three times. `make live` only."""

import socket
import subprocess
import time
from pathlib import Path

from tests.live.harness import PATIENCE_S, Layers, Reaper, alive, lamina, need, wait_gone


def talk(port: int, line: str) -> str:
    """One command, one answer, on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as client:
        client.sendall(f"{line}\r\n".encode())
        return client.recv(4096).decode()


def wait_alone(pid: int, port: int) -> None:
    """Until the server has accepted and closed all there was."""
    deadline = time.monotonic() + PATIENCE_S
    while "ESTAB" in subprocess.run(["ss", "-Htnp", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout:
        assert time.monotonic() < deadline, f"process {pid} keeps a connection"
        time.sleep(0.01)


def test_memcached_keeps_what_it_had(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    need("memcached", "ss")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (tmp_path / "out").open("wb") as out:
        server = subprocess.Popen(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(port), "-U", "0"],
            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd="/",
        )  # fmt: skip
    server.returncode = 0  # the reaper's from here on
    reaper.watch(server.pid)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert talk(port, "set k 0 0 5\r\nhello") == "STORED\r\n"
            break
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    for _ in range(3):
        wait_alone(server.pid, port)
        layer = layers.new()
        lamina("dump", "-t", server.pid, "-D", layer)
        wait_gone(server.pid)
        lamina("restore", "-D", layer, "-d")
        assert talk(port, "get k") == "VALUE k 0 5\r\nhello\r\nEND\r\n"
    assert alive(server.pid)

"""Terminals are handed on: saved with their settings, rebuilt as the terminal the restorer has."""

import os
import pty
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lamina.core.image.schema import TtyType
from lamina.core.kinds.files.tty import settings_of
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.opening import OpenOptions, open_descriptions, plan_descriptions
from tests.unit.kinds_fd.helpers import rebuilt, victim, write_layer

CODE = """
import termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.tcsetpgrp(0, os.getpgrp())
settings = termios.tcgetattr(0); settings[3] &= ~termios.ECHO; termios.tcsetattr(0, termios.TCSANOW, settings)
termios.tcsetwinsize(0, (33, 99))
os.open(os.ttyname(0), os.O_RDONLY | os.O_NONBLOCK)
os.open("/dev/tty", os.O_RDWR)
stay()
"""


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = pty.openpty()
    try:
        yield slave, os.ttyname(slave)
    finally:
        os.close(slave)
        os.close(master)


def test_a_terminal_is_saved_with_its_settings_and_handed_on(tmp_path: Path) -> None:
    with terminal() as (first, _), terminal() as (second, name):
        with victim(CODE, popen=dict.fromkeys(("stdin", "stdout", "stderr"), first)) as pid:
            layer = write_layer(tmp_path / "layer", [pid])
            settings = termios.tcgetattr(first)
        info = {record.id: record for record, _ in layer.records("tty-info")}[1]
        assert (info.type, info.sid, info.pgrp) == (TtyType.PTY, pid, pid)
        assert (info.winsize.ws_row, info.winsize.ws_col) == (33, 99)
        assert info.pty.index == int(os.ttyname(first).rpartition("/")[2])
        assert settings_of(info)[:16] == b"".join(int(word).to_bytes(4, "little") for word in settings[:4])
        refused = [blocker for blocker in plan_descriptions(layer, DESCRIPTORS) if "--shell-job" in blocker.fix]
        assert refused
        options = OpenOptions(shell_job=True, terminal=second)
        assert plan_descriptions(layer, DESCRIPTORS, options) == []
        with rebuilt(layer, options) as new:
            links = {fd: os.readlink(f"/proc/{new[pid]}/fd/{fd}") for fd in range(5)}
            assert links == dict.fromkeys(range(5), name)
            text = Path(f"/proc/{new[pid]}/fdinfo/3").read_text()
            assert int(text.split("flags:")[1].split()[0], 8) & os.O_NONBLOCK
        with open_descriptions(layer, DESCRIPTORS, options) as opened:
            opened.before_run([pid + 1])
            assert termios.tcgetattr(second)[3] & termios.ECHO
            opened.before_run([pid])
            assert termios.tcgetattr(second) == settings


def test_without_a_terminal_to_hand_on(tmp_path: Path) -> None:
    with terminal() as (first, _), victim(CODE, popen=dict.fromkeys(("stdin", "stdout", "stderr"), first)) as pid:
        layer = write_layer(tmp_path / "layer", [pid])
    if not any(os.isatty(fd) for fd in range(3)):
        try:
            os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        except OSError:
            assert "lamina has none to give" in str(plan_descriptions(layer, DESCRIPTORS, OpenOptions(shell_job=True)))


def test_a_closed_terminal_is_refused(tmp_path: Path) -> None:
    import pytest

    from lamina.core.errors import RefusedError

    master, slave = pty.openpty()
    with victim("signal.signal(signal.SIGHUP, signal.SIG_IGN)\nstay()\n", popen={"stdin": slave}) as pid:
        os.close(slave)
        os.close(master)
        with pytest.raises(RefusedError, match="does not answer"):
            write_layer(tmp_path / "layer", [pid])

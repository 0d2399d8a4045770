"""Terminals: the slave side of a pseudo-terminal, a virtual console, /dev/tty. The program behind the terminal (shell, terminal emulator,
tmux) is not part of the tree, so a restored tree gets the terminal it is restored in: `--shell-job`, as CRIU calls it.
"""

import fcntl
import os
import signal
import stat
import struct
import termios
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from lamina.core.errors import Blocker, TargetError
from lamina.core.image.schema import (
    TtyType,
    fd_types,
    file_entry,
    termios_entry,
    tty_file_entry,
    tty_info_entry,
    tty_pty_entry,
    winsize_entry,
)
from lamina.core.objects.kind import CapturedFile, DescriptorKind, Opening, Saving, TreeView
from lamina.core.objects.layer_files import LayerFiles, Tables
from lamina.core.objects.rawfd import ONCE, Holders, RawFd, grabbed

_KEEP: Final = "--shell-job"
# struct termios of the kernel, asm-generic/termbits.h; c_ispeed and c_ospeed are coded in c_cflag.
_TERMIOS: Final = struct.Struct("<IIIIB19s")
_WINSIZE: Final = struct.Struct("<HHHH")
_TCSETS, _TIOCGLCKTRMIOS, _TIOCGEXCL = 0x5402, 0x5456, 0x80045440  # asm-generic/ioctls.h
TTY_INFO: Final = "tty-info"
_STANDARD: Final = (0, 1, 2)
_CBAUD: Final = 0o010017


def terminal_type(rdev: int) -> TtyType:
    """Which kind of terminal a device is (Documentation/admin-guide/devices.txt); UNKNOWN if it is none that can be inherited."""
    major, minor = os.major(rdev), os.minor(rdev)
    if 136 <= major <= 143:
        return TtyType.PTY
    if (major, minor) == (5, 0):
        return TtyType.CTTY
    if (major, minor) == (5, 1):
        return TtyType.CONSOLE
    return TtyType.VT if major == 4 and minor < 64 else TtyType.UNKNOWN


@dataclass(frozen=True)
class TerminalState:
    """What a terminal is set to: raw termios, locked termios and window size, TIOCEXCL, and whose it is."""

    termios: bytes
    locked: bytes
    window: bytes
    exclusive: bool
    session: int
    foreground: int


def _session(pid: int, rdev: int) -> tuple[int, int]:
    """Session and foreground group of terminal *rdev*, if it controls *pid*, else 0: fields 6 to 8 of /proc/PID/stat."""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 -- inside the freeze
        words = file.read().rpartition(b")")[2].split()
    number = int(words[4]) & 0xFFFFFFFF
    # proc(5): the minor number is in bits 31 to 20 and 7 to 0, the major in 15 to 8.
    controls = os.makedev(number >> 8 & 0xFF, number >> 12 & 0xFFF00 | number & 0xFF) == rdev
    if not number or not (controls or terminal_type(rdev) == TtyType.CTTY):
        return 0, 0
    return int(words[3]), max(int(words[5]), 0)


class Terminal(DescriptorKind):
    """A terminal that the tree did not make."""

    name = "terminal"
    type = fd_types.TTY
    field = "tty"
    images = (TTY_INFO,)

    def recognise(self, raw: RawFd) -> bool:
        """By device number."""
        return stat.S_ISCHR(raw.mode) and terminal_type(raw.rdev) != TtyType.UNKNOWN

    def blocker(self, holders: Holders, view: TreeView) -> Blocker | None:
        """Without `--shell-job` nothing says that another terminal will do."""
        raw = holders[0]
        if raw.nlink == 0 or raw.link.endswith(" (deleted)"):
            return raw.blocker("a terminal that was closed", "start the program in a terminal that stays, or with its streams in files")
        return None if view.shell_job else raw.blocker("a terminal of its own session", f"add {_KEEP}")

    def capture(self, holders: Holders, pidfd: int, around: None) -> TerminalState | str:
        """Its settings; a sentence if it cannot be asked any more."""
        raw = holders[0]
        with grabbed(pidfd, raw.fd) as fd:
            try:
                settings = fcntl.ioctl(fd, termios.TCGETS, bytes(_TERMIOS.size))
                locked = fcntl.ioctl(fd, _TIOCGLCKTRMIOS, bytes(_TERMIOS.size))
                window = fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size))
                exclusive = fcntl.ioctl(fd, _TIOCGEXCL, bytes(4)) != bytes(4)
            except OSError as error:
                return f"a terminal that does not answer: {os.strerror(error.errno or 0)}"
        session, foreground = _session(raw.pid, raw.rdev)
        return TerminalState(settings, locked, window, exclusive, session, foreground)

    def late_blocker(self, file: CapturedFile) -> Blocker | None:
        """It did not answer."""
        return file.raw.blocker(file.extra) if isinstance(file.extra, str) else None

    def save(self, file: CapturedFile, ident: int, saving: Saving) -> file_entry:
        """The description; the terminal itself once."""
        raw, state = file.raw, file.extra
        info = saving.once(("terminal", raw.rdev), lambda: _save_info(raw, state, saving))
        record = tty_file_entry(id=ident, tty_info_id=info, flags=raw.flags & ~ONCE, fown=raw.owner.entry(), regf_id=saving.named_file(raw))
        return file_entry(type=fd_types.TTY, id=ident, tty=record)

    def damage(self, record: Any) -> Iterator[str]:
        """What its record cannot say."""
        if record.flags & os.O_ACCMODE == os.O_ACCMODE:
            yield "is open for neither reading nor writing"
        if record.flags & os.O_DIRECT:
            yield "has the flag O_DIRECT, which it cannot have"

    def layer_damage(self, layer: LayerFiles, tables: Tables) -> Iterator[tuple[str, str]]:
        """A terminal that nothing is said of."""
        known = {record.id for record, _ in layer.records(TTY_INFO)}
        for entry in layer.files.values():
            if entry.HasField("tty") and entry.tty.tty_info_id not in known:
                yield f"{TTY_INFO}.img", f"has no entry {entry.tty.tty_info_id} for the terminal {entry.id} of files.img"

    def plan(self, entry: file_entry, opening: Opening) -> Blocker | None:
        """`--shell-job` was given and we have a terminal to hand on."""
        if not opening.options.shell_job:
            return Blocker("terminal", "the layer was dumped with a terminal", f"add {_KEEP}")
        if _terminal(opening) < 0:
            return Blocker("terminal", "the tree needs one, and lamina has none to give", "restore in a terminal")
        return None

    def make(self, entry: file_entry, opening: Opening) -> int:
        """Our terminal, opened anew so that flags are the description's own."""
        flags = entry.tty.flags & ~ONCE
        terminal = _terminal(opening)
        if terminal < 0:
            raise TargetError("cannot rebuild", "a terminal", "lamina has none to give")
        return os.open(f"/proc/self/fd/{terminal}", flags | os.O_NOCTTY | os.O_CLOEXEC)

    def own_files(self, entry: file_entry) -> Collection[int]:
        """The device that it was opened by, which may be another now."""
        return (entry.tty.regf_id,)

    def before_run(self, opening: Opening, groups: Collection[int]) -> None:
        """See `set_terminal`."""
        terminal = _terminal(opening)
        if terminal >= 0:
            set_terminal((record for record, _ in opening.records(TTY_INFO)), groups, terminal)


def _terminal(opening: Opening) -> int:
    """A descriptor of the terminal that the tree gets, -1 if there is none."""
    if opening.options.terminal >= 0:
        return opening.options.terminal
    return opening.once(("our terminal",), _own_terminal, _close_own)


def _own_terminal() -> int:
    standard = next((fd for fd in _STANDARD if _is_terminal(fd)), -1)
    if standard >= 0:
        return standard
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return -1


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _close_own(fd: int) -> None:
    if fd not in (-1, *_STANDARD):
        os.close(fd)


def _termios_entry(raw: bytes) -> termios_entry:
    iflag, oflag, cflag, lflag, line, chars = _TERMIOS.unpack(raw)
    speed = cflag & _CBAUD
    return termios_entry(
        c_iflag=iflag, c_oflag=oflag, c_cflag=cflag, c_lflag=lflag, c_line=line, c_ispeed=speed, c_ospeed=speed, c_cc=list(chars)
    )  # fmt: skip


def _save_info(raw: RawFd, state: TerminalState, saving: Saving) -> int:
    number = saving.count(TTY_INFO) + 1
    saving.put(TTY_INFO, _info(number, raw, state))
    return number


def _info(number: int, raw: RawFd, state: TerminalState) -> tty_info_entry:
    rows, columns, x, y = _WINSIZE.unpack(state.window)
    kind = terminal_type(raw.rdev)
    record = tty_info_entry(
        id=number, type=kind, locked=False, exclusive=state.exclusive, packet_mode=False, sid=state.session, pgrp=state.foreground,
        rdev=raw.rdev & 0xFFFFFFFF, dev=raw.dev & 0xFFFFFFFF, termios=_termios_entry(state.termios),
        termios_locked=_termios_entry(state.locked), winsize=winsize_entry(ws_row=rows, ws_col=columns, ws_xpixel=x, ws_ypixel=y),
    )  # fmt: skip
    if kind == TtyType.PTY:
        record.pty.CopyFrom(tty_pty_entry(index=os.minor(raw.rdev) + 256 * (os.major(raw.rdev) - 136)))
    return record


def settings_of(info: tty_info_entry) -> bytes:
    """A recorded terminal's settings as the kernel's struct termios, for TCSETS."""
    entry = info.termios
    chars = bytes(value & 0xFF for value in entry.c_cc)[:19].ljust(19, b"\0")
    return _TERMIOS.pack(entry.c_iflag, entry.c_oflag, entry.c_cflag, entry.c_lflag, entry.c_line & 0xFF, chars)


def set_terminal(infos: Iterable[tty_info_entry], groups: Collection[int], terminal: int) -> bool:
    """Set *terminal* as the tree had set its own, if it was in the foreground of it when it was dumped; returns whether.

    In the background the settings were those of somebody else, as of a shell that edits its command line. The window's size is that of the
    window there is now.

    Args:
        infos: the layer's terminals.
        groups: process groups of the tree.
        terminal: a descriptor of the terminal the tree gets.
    """
    own = [info for info in infos if info.pgrp in groups and info.HasField("termios")]
    if not own:
        return False
    # Blocked, the signal that would stop a background process for this is not sent, and the call succeeds (termios(3)).
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        fcntl.ioctl(terminal, _TCSETS, settings_of(own[0]))
    except OSError:
        return False
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return True

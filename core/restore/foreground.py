"""A restored program as the foreground job of a terminal, as if it had been started there: keys reach it, its exit status is ours."""

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from lamina.core.errors import TargetError

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)

_settings_before: dict[int, list[Any]] = {}


def keep_terminal(pid: int) -> bool:
    """Before process *pid* gets our terminal: whether we are in its foreground, so that it may set it.

    How it is set now is kept for the case that a signal ends the process before it can clean up.
    """
    terminal = _terminal()
    try:
        if terminal < 0 or not _is_foreground(terminal, os.getpgrp()):
            return False
        with suppress(termios.error):
            _settings_before[pid] = termios.tcgetattr(terminal)
        return True
    finally:
        if terminal >= 0:
            os.close(terminal)


def wait_as_foreground_job(pid: int, begun: Callable[[], None] | None = None) -> int:
    """Wait until our child *pid* ends; returns its exit code, or 128 + n if signal n ended it. Call it from the main thread.

    *begun* is called once it has the terminal, if there is one to be had.

    Signals that reach us are handed on to it, unless it is in our process group and the terminal has told it already. If it is in another
    group of our session (a shell job), it gets the terminal, and stops and goes on together with us.

    Raises:
        TargetError: it is no child of ours.
    """
    group = _group_of(pid)
    own = os.getpgrp()
    terminal = _terminal() if group != own and _session_of(pid) == os.getsid(0) else -1
    settings = _settings_before.pop(pid, None)
    try:
        with _forwarding(pid, group, own), _foreground(terminal, group, own):
            if begun is not None:
                begun()
            code = _wait(pid, group, own, terminal)
        if code > 128 and settings:
            _set_terminal(settings)
        return code
    finally:
        if terminal >= 0:
            os.close(terminal)


def _wait(pid: int, group: int, own: int, terminal: int) -> int:
    while True:
        try:
            _, status = os.waitpid(pid, os.WUNTRACED)
        except ChildProcessError as error:
            raise TargetError("cannot wait for", f"process {pid}", "it is no child of ours") from error
        if os.WIFSTOPPED(status):
            # In our own group the terminal has stopped us, too, and our shell lets both go on.
            if group != own and terminal >= 0:
                _stop_with(group, own, terminal, os.WSTOPSIG(status))
            continue
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _stop_with(group: int, own: int, terminal: int, number: int) -> None:
    """The job was stopped from the keyboard: so are we, for our shell to see; when it lets us go on, the job does.

    Where we lead the session there is no shell, and the keyboard stops nothing, as the kernel has it for a program alone in a terminal.
    """
    if os.getsid(0) == os.getpid():
        if number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)
        return
    _give_terminal(terminal, own)
    os.kill(os.getpid(), signal.SIGSTOP)
    _give_terminal(terminal, group)
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)


@contextmanager
def _forwarding(pid: int, group: int, own: int) -> Iterator[None]:
    def hand_on(number: int, _frame: FrameType | None) -> None:
        # Keys go to the whole foreground group; only SIGTERM never comes from one.
        if group == own and number != signal.SIGTERM:
            return
        with suppress(ProcessLookupError):
            if group == pid:
                os.killpg(group, number)
            else:
                os.kill(pid, number)

    before = {number: signal.signal(number, hand_on) for number in FORWARDED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextmanager
def _foreground(terminal: int, group: int, own: int) -> Iterator[None]:
    """Give the terminal's foreground to *group*, and take it back at the end."""
    if terminal < 0 or not _is_foreground(terminal, own):
        yield
        return
    _give_terminal(terminal, group)
    # It may have asked for input already, and been stopped for it.
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGCONT)
    try:
        yield
    finally:
        _give_terminal(terminal, own)


def _is_foreground(terminal: int, group: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == group
    except OSError:
        return False


def _give_terminal(terminal: int, group: int) -> None:
    """Works from the background, too: the signal that would stop us for it is ignored meanwhile."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, before)


def _set_terminal(settings: list[Any]) -> None:
    terminal = _terminal()
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSADRAIN, settings)
    finally:
        signal.signal(signal.SIGTTOU, before)
        if terminal >= 0:
            os.close(terminal)


def _terminal() -> int:
    try:
        return os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError:
        return -1


def _group_of(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return 0


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0

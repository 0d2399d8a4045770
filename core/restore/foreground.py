"""A restored program as the foreground job of a terminal, as if it had been started there: keys reach it, its exit status is ours."""

import os
import signal
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from lamina.core.attach.procfs import read_stat, tree_of
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


def give_terminal(pid: int) -> None:
    """Before our child *pid* runs: its group gets our terminal, if it is another one of our session. So it is never stopped for reading.

    Call it only if `keep_terminal` said so.
    """
    group, terminal = _group_of(pid), _terminal()
    if terminal >= 0:
        if group and _session_of(pid) == os.getsid(0):
            _set_foreground(terminal, group)
        os.close(terminal)


def take_terminal() -> None:
    """Nothing came of it: we have the terminal again."""
    terminal = _terminal()
    if terminal >= 0:
        _set_foreground(terminal, os.getpgrp())
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
        with _forwarding(pid, group, own), _foreground(terminal, pid, group, own):
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
    _set_foreground(terminal, own)
    os.kill(os.getpid(), signal.SIGSTOP)
    _set_foreground(terminal, group)
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
def _foreground(terminal: int, pid: int, group: int, own: int) -> Iterator[None]:
    """Give the terminal's foreground to *group*, that of *pid*, and take it back at the end."""
    if terminal < 0 or not (_is_foreground(terminal, own) or _is_foreground(terminal, group)):
        yield
        return
    _set_foreground(terminal, group)
    _let_stopped_go_on(pid, group)
    try:
        yield
    finally:
        _set_foreground(terminal, own)


def _let_stopped_go_on(pid: int, group: int) -> None:
    """One of *group* below *pid* may have asked for input, and been stopped for it, if we came to the foreground only now.

    `_wait` sees those that stop later. If none is, nobody is told to go on: programs may handle SIGCONT, as Python's prompt does, which
    then draws itself anew.
    """
    for each in tree_of(pid):
        with suppress(TargetError, ProcessLookupError):  # it has ended
            stat = read_stat(each)
            if stat.pgrp == group and stat.state == "T":
                os.killpg(group, signal.SIGCONT)
                return


def _is_foreground(terminal: int, group: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == group
    except OSError:
        return False


def _set_foreground(terminal: int, group: int) -> None:
    # From the background, too: blocked, the signal that would stop us for it is not sent, and the call succeeds (tcsetpgrp(3)). Any thread.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        with suppress(OSError):
            os.tcsetpgrp(terminal, group)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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

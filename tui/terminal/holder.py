"""Holds one terminal, whatever happens to lamina. docs/terminal.md tells the whole story.

It is a process of its own that keeps the pseudo terminal, the output since the last screen that it was given, and what was typed but not
read yet. It shows nothing and cannot emulate.

It is run as a file, without the packages around it: `python -I -S holder.py DIRECTORY NAME COLUMNS LINES N STAND-IN… LEADER…`, where the
stand-in has N words, with a connection as standard input. So it imports little, and what both ends must know is defined here.

One packet is one message (unix(7), SOCK_SEQPACKET): a letter, then its content. From lamina:

    A {json}   attach: {"take": even if another lamina is attached}; the answer is W or N
    G          begin; sent once, by whoever started the holder
    K bytes    keys
    Q bytes    an answer of the emulator, sent only once
    Z place columns lines   the window has another size; place: how much of the output was emulated by then
    S place answers, with a memfd   what the terminal shows at that place; the output before it is no longer needed
    C          ask the leader to stop what it does
    E          hang up, and end
    B          the holder may end once the program has ended and no lamina is attached

To lamina:

    W {json}, with descriptors: the status, the screen if there is one, the master, the bypass pipe, the board
    N {json}   another lamina is attached
    O bytes · Z columns lines   output and changes of the window since then, in order
    U          all output up to now has been sent
    L {json}   a report of the leader (`lamina.tui.terminal.reports`)
    X {json}   the program has ended, and all output has been sent
    T pid      another lamina has taken the terminal over

How lamina learns the exact place of a freeze without asking the holder: besides the master there is a pipe, the bypass ("around" in the
status), from which the holder reads before it reads the master. Whoever has the lock on the board, a file, moves the output from the master
into the pipe, inside the kernel, so that nothing is lost if it is killed meanwhile. The place is then what the holder has read, which it
writes on the board, plus what is in the pipe (`Attachment.place_now`).
"""

import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

VERSION = 1
PLACE = struct.Struct("=Q")
WINDOW = struct.Struct("=HH")
KEPT = struct.Struct("=QQ")
# The size of a message; larger content is sent in a memfd.
PACKET = 1 << 16
# The output in one message, which is emulated in one go.
PORTION = 4096

# Output since the last screen, bytes: with so much it must be emulated; with so much the program must wait.
_ENOUGH, _FULL = 1 << 18, 1 << 19
# Output that lamina was not sent yet: with more the program waits for a slow screen, so that ^C has an effect.
_UNSENT = 1 << 14
_SOCKET = 1 << 15
_TYPED = 1 << 20
_AT_ONCE = 1 << 16
_BYPASS_BYTES = 1 << 19
# How long the last screen is kept of a program that ended while no lamina was attached.
_REMEMBERED_S = 24 * 3600.0
_CHECK_S = 60.0
_RETRY_S = 0.001
_PATIENCE_S = 1.0
# A stand-in that fails this often is given up.
_TRIES = 3
# Where the leader finds the pipe for its reports.
REPORTS = 3
# Variables of the terminal that lamina runs in, which would be wrong for the program.
_NOT_ITS = ("COLUMNS", "LINES", "COLORTERM", "TERMCAP", "TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TMUX", "TMUX_PANE", "STY", "WINDOW")
# The program asks the terminal for its identification or the cursor position, and may wait for the answer.
_ASKS = re.compile(rb"(?:\x1b\[|\xc2\x9b)[\x20-\x3f]*[cn]")
_LONGEST_QUESTION = 16


def own_key() -> str:
    """The name of this process's files, which is unique: boot, pid namespace, pid and start time."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        boot = file.read(8)
    with open("/proc/self/stat") as file:
        start = file.read().rsplit(")", 1)[1].split()[19]
    return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}-{os.getpid()}-{start}"


class Client:
    """One connection.

    Attributes:
        pid: of the other end.
        sent, resizes: how much of the output, and how many changes of the window, it was sent; -1 if it is not attached.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.pid, self.uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        self.sent = self.resizes = 0
        self.up_to_date = self.told_end = self.blocked = self.stands_in = False
        self.greeted = False
        self.catch_up = 0
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET)

    def send(self, message: bytes, fds: Sequence[int] = ()) -> bool:
        """Whether it could be sent now. That the other end is gone is found out when reading."""
        try:
            if fds:
                socket.send_fds(self.connection, [message], list(fds))
            else:
                self.connection.send(message)
        except BlockingIOError:
            self.blocked = True
            return False
        except OSError:
            pass
        return True


class Holder:
    """The terminal, its output, and the lamina that is attached."""

    def __init__(self, directory: str, name: str, size: tuple[int, int], leader: Sequence[str], stand_in: Sequence[str]) -> None:
        self._directory, self._key = directory, own_key()
        self._leader_words, self._stand_in_words = leader, stand_in
        self._size = self._size_there = size
        self._status: dict[str, Any] = {
            "version": VERSION, "holder": os.getpid(), "pid": 0, "name": name, "since": time.time(), "lamina": 0, "ended": None,
            "failed": "", "lost": 0, "tty": "",
        }  # fmt: skip
        # The output from `_begin` on, the changes of the window in it, and the screen at `_begin`.
        self._log = bytearray()
        self._begin, self._resizes, self._resizes_gone = 0, list[tuple[int, int, int]](), 0
        self._screen, self._screen_answers = -1, 0
        self._answers = 0
        self._asked = False
        self._typed = bytearray()
        self._reports = list[bytes]()
        self._client: Client | None = None
        self._strangers = list[Client]()
        self._stand_in, self._tries, self._begin_then = -1, 0, 0
        self._leader, self._leader_pid, self._hearing, self._heard = -1, 0, -1, b""
        self._master, self._read_all, self._late = -1, False, False
        self._forget_at = float("inf")
        self._check_at = time.monotonic() + _CHECK_S
        self._over = self._unwanted = False
        self._board = os.memfd_create("lamina-terminal", os.MFD_CLOEXEC)
        os.pwrite(self._board, PLACE.pack(0), 0)
        self._bypass, self._bypass_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        with suppress(OSError):
            fcntl.fcntl(self._bypass_end, fcntl.F_SETPIPE_SZ, _BYPASS_BYTES)  # the kernel takes a page for every write, however small
        self._listener = self._listen()

    @property
    def _end(self) -> int:
        return self._begin + len(self._log)

    # -- to be found -----------------------------------------------------------------------------------------------------------------

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        # The path of a socket is limited to 107 bytes, that of the directory may be longer.
        before = os.open(".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.chdir(self._directory)
            listener.bind(f"{self._key}.sock")
            os.chmod(f"{self._key}.sock", 0o600)
        finally:
            os.fchdir(before)
            os.close(before)
        listener.listen(8)
        return listener

    def _check_files(self) -> None:
        """Put our files back if they were removed, as happens when a user logs out, unless lamina's whole directory is gone."""
        self._check_at = time.monotonic() + _CHECK_S
        above = os.path.dirname(os.path.dirname(self._directory))
        if os.path.exists(f"{self._directory}/{self._key}.sock") or not os.path.isdir(above):
            return
        with suppress(OSError):
            os.makedirs(self._directory, 0o700, exist_ok=True)
            listener = self._listen()
            self._listener.close()
            self._listener = listener
            self._say()

    def _say(self) -> None:
        """Write the status, for those who only list terminals."""
        self._status["lamina"] = self._client.pid if self._client is not None and not self._client.stands_in else 0
        path = f"{self._directory}/{self._key}.json"
        with suppress(OSError):
            with open(f"{path}.new", "w") as file:
                json.dump(self._status, file)
            os.rename(f"{path}.new", path)

    def _vanish(self) -> None:
        for path in (f"{self._key}.sock", f"{self._key}.json", f"{self._key}.json.new"):
            with suppress(OSError):
                os.unlink(f"{self._directory}/{path}")

    # -- the program -----------------------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Write our files, so that we can be found even if lamina ends, and start the leader."""
        self._master, slave = os.openpty()
        os.set_blocking(self._master, False)
        self._status["tty"] = os.ttyname(slave)
        self._set_window()
        hears, tells = os.pipe2(os.O_CLOEXEC)
        words = list(self._leader_words)
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_ITS} | {"TERM": "linux"}
        try:
            # A session leader without a terminal that opens one gets it as its controlling terminal (setsid comes first).
            self._leader_pid = os.posix_spawnp(
                words[0], words, environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, self._status["tty"], os.O_RDWR, 0), (os.POSIX_SPAWN_DUP2, 0, 1), (os.POSIX_SPAWN_DUP2, 0, 2),
                    (os.POSIX_SPAWN_DUP2, tells, REPORTS),
                ],
                setsid=True, setsigmask=[],
            )  # fmt: skip
            self._leader = os.pidfd_open(self._leader_pid)
        except OSError as error:
            self._report({"failed": f"cannot run {words[0]}: {os.strerror(error.errno or 0)}", "cancelled": False, "runs": 0})
            self._status["ended"], self._read_all = 127, True
        finally:
            os.close(slave)
            os.close(tells)
        os.set_blocking(hears, False)
        self._hearing = hears
        os.chdir("/")
        self._say()

    def _set_window(self) -> None:
        with suppress(OSError):
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", self._size[1], self._size[0], 0, 0))

    def _hear(self) -> None:
        try:
            data = os.read(self._hearing, PACKET)
        except BlockingIOError:
            return
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            with suppress(ValueError):
                self._report(json.loads(line))
        if not data:
            os.close(self._hearing)
            self._hearing = -1

    def _report(self, report: dict[str, Any]) -> None:
        if "runs" in report or "failed" in report:
            self._status["pid"], self._status["failed"] = report.get("runs", 0), report.get("failed", "")
            self._say()
        if self._client is not None and not self._client.stands_in:
            self._reports.append(b"L" + json.dumps(report).encode()[: _SOCKET // 2])

    def _leader_ended(self) -> None:
        found = os.waitid(os.P_PIDFD, self._leader, os.WEXITED | os.WNOHANG)
        if found is not None:
            os.close(self._leader)
            self._leader, self._leader_pid = -1, 0
            while self._hearing >= 0:
                self._hear()
            self._status["ended"] = found.si_status if found.si_code == os.CLD_EXITED else 128 + found.si_status
            self._say()

    def _hang_up(self) -> None:
        """Hang up. The kernel sends SIGHUP to the foreground job, unless a stopped process holds the master, so the leader is told, too."""
        os.close(self._master)
        if self._leader >= 0:
            for number in (0, signal.SIGHUP, signal.SIGKILL):
                if number:
                    os.kill(self._leader_pid, number)
                if select.select([self._leader], [], [], _PATIENCE_S)[0]:
                    break
            os.waitid(os.P_PIDFD, self._leader, os.WEXITED)
        self._over = True  # lamina waits until we end and the connection with us

    # -- what it writes --------------------------------------------------------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        client = self._client
        return len(self._log) < _FULL and (client is None or not client.up_to_date or self._end - client.sent < _UNSENT)

    def _read(self) -> None:
        """Read the output, first from the bypass."""
        try:
            fcntl.lockf(self._board, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._late = True  # lamina determines the place, which does not take long
            return
        before = self._end
        try:
            with suppress(BlockingIOError):
                while data := os.read(self._bypass, _AT_ONCE):
                    self._log += data
            try:
                while self._master >= 0 and self._has_room and self._end - before < _AT_ONCE:
                    self._log += os.read(self._master, PORTION)
            except BlockingIOError:
                # Nothing more comes from a leader that has ended.
                self._read_all = self._status["ended"] is not None
            except OSError:
                self._read_all = True  # EIO: no process has the other end open any more
            os.pwrite(self._board, PLACE.pack(self._end), 0)
        finally:
            fcntl.lockf(self._board, fcntl.LOCK_UN)
        if self._client is None and not self._asked:
            written = self._end - before + _LONGEST_QUESTION
            self._asked = _ASKS.search(self._log[-written:]) is not None

    def _type(self) -> None:
        try:
            del self._typed[: os.write(self._master, self._typed[:PORTION])]
        except BlockingIOError:
            return
        except OSError:
            self._typed.clear()  # no process is there to read it

    # -- who looks -------------------------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        with suppress(OSError):
            client = Client(self._listener.accept()[0])
            if client.uid in (0, os.geteuid()):
                self._strangers.append(client)
            else:
                client.connection.close()

    def _greet(self, client: Client) -> None:
        """Attach *client*, and detach the one before."""
        self._let_go()
        self._client = client
        client.sent, client.resizes, client.catch_up = self._begin, self._resizes_gone, self._end
        self._asked = self._unwanted = False
        self._forget_at = float("inf")
        fds = {"screen": self._screen, "master": self._master, "around": self._bypass_end, "board": self._board}
        if client.stands_in:
            fds = {"screen": self._screen}
        else:
            self._tries = 0
        fds = {what: fd for what, fd in fds.items() if fd >= 0}
        # First of all, so that whoever sees it attached also finds it listed.
        self._say()
        shown = {
            **self._status, "size": self._size_there, "place": self._begin, "given": self._screen_answers, "answers": self._answers,
            "fds": list(fds),
        }  # fmt: skip
        client.greeted = client.send(b"W" + json.dumps(shown).encode(), list(fds.values()))

    def _let_go(self) -> None:
        """Detach the client, after reading what it has sent before."""
        client, self._client = self._client, None
        if client is None:
            return
        while self._obey_next(client):
            pass
        client.connection.close()
        self._reports.clear()
        if client.stands_in:
            self._tries = self._tries + 1 if self._begin == self._begin_then else 0
        elif not self._over:
            self._asked = self._answers_due()
        if self._status["ended"] is not None:
            self._forget_at = time.monotonic() + _REMEMBERED_S
        self._say()

    def _answers_due(self) -> bool:
        return len(_ASKS.findall(self._log)) > self._answers - self._screen_answers

    def _stand_in_if_due(self) -> None:
        """Start a stand-in if no lamina is attached and there is much to emulate, or the program waits for an answer.

        If none can be started, the oldest output is dropped.
        """
        if self._client is not None or not (len(self._log) >= _ENOUGH or (self._asked and self._status["ended"] is None)):
            return
        if self._tries >= _TRIES:
            self._asked = False
            if len(self._log) >= _FULL:
                self._drop(self._begin + _FULL // 2)
                self._status["lost"] += _FULL // 2
            return
        if self._stand_in >= 0:
            return
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, its:
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                words = list(self._stand_in_words)
                actions = [(os.POSIX_SPAWN_DUP2, its.fileno(), 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
                self._stand_in = os.pidfd_open(os.posix_spawnp(words[0], words, os.environ, file_actions=actions, setsigmask=[]))
            except OSError:
                self._tries += 1
                return
            finally:
                os.close(null)
            client = Client(socket.socket(fileno=ours.detach()))
        client.stands_in, self._begin_then = True, self._begin
        self._greet(client)

    def _send_output(self) -> None:
        client = self._client
        if client is None or client.blocked or not client.greeted:
            return
        while self._reports and client.send(self._reports[0]):
            del self._reports[0]
        while not client.blocked:
            waiting = self._resizes[client.resizes - self._resizes_gone :]
            if waiting and waiting[0][0] <= client.sent:
                client.resizes += client.send(b"Z" + WINDOW.pack(*waiting[0][1:]))
            elif not client.up_to_date and client.sent >= client.catch_up:
                client.up_to_date = client.send(b"U")
            elif client.sent >= self._end:
                break
            else:
                self._send_portion(client, waiting[0][0] if waiting else self._end)
        if self._is_over and not client.told_end and client.up_to_date and not client.blocked and client.sent == self._end:
            client.told_end = client.send(b"X" + json.dumps(self._status).encode())

    def _send_portion(self, client: Client, at_most: int) -> None:
        until = min(client.sent + PORTION, at_most, self._end)
        if client.send(b"O" + self._log[client.sent - self._begin : until - self._begin]):
            client.sent = until

    @property
    def _is_over(self) -> bool:
        return self._status["ended"] is not None and self._read_all

    # -- what it says ----------------------------------------------------------------------------------------------------------------

    def _obey_next(self, client: Client) -> bool:
        """Do what one message of *client* says; False if there is none."""
        try:
            message, fds, _, _ = socket.recv_fds(client.connection, PACKET, 4)
        except BlockingIOError:
            return False
        except OSError:
            message, fds = b"", []
        try:
            if not message:
                self._lost(client)
                return False
            self._obey(client, message[:1], message[1:], fds)
        except (ValueError, struct.error):
            pass  # an unknown message
        finally:
            for fd in fds:
                if fd != self._screen:
                    os.close(fd)
        return True

    def _lost(self, client: Client) -> None:
        if client is self._client:
            self._let_go()
        elif client in self._strangers:
            self._strangers.remove(client)
            client.connection.close()

    def _obey(self, client: Client, letter: bytes, said: bytes, fds: Sequence[int]) -> None:
        if client in self._strangers:
            if letter == b"A":
                self._asked_to_show(client, bool(json.loads(said).get("take")))
            elif letter == b"B":
                self._unwanted = True
        elif letter in b"KQ":
            self._answers += letter == b"Q"
            if len(self._typed) < _TYPED and self._status["ended"] is None:
                self._typed += said
                self._type()
        elif letter == b"Z":
            self._resized(client, PLACE.unpack(said[:8])[0], WINDOW.unpack(said[8:]))
        elif letter == b"S" and fds:
            place, answers = KEPT.unpack(said)
            self._keep(place, answers, fds[0])
        elif letter == b"G" and self._master < 0:
            self._start()
            self._client = None
            self._greet(client)
        elif letter == b"C" and self._leader_pid:
            os.kill(self._leader_pid, signal.SIGTERM)
        elif letter == b"E":
            self._hang_up()
        elif letter == b"B":
            self._unwanted = True

    def _resized(self, client: Client, place: int, size: tuple[int, int]) -> None:
        if place >= self._begin:
            self._size = size
            self._resizes.append((place, *size))
            client.resizes = self._resizes_gone + len(self._resizes)
            self._set_window()

    def _keep(self, place: int, answers: int, screen: int) -> None:
        if self._begin <= place <= self._end:
            if self._screen >= 0:
                os.close(self._screen)
            self._screen, self._screen_answers = screen, answers
            self._drop(place)

    def _asked_to_show(self, client: Client, take: bool) -> None:
        shows = self._client
        while shows is not None and self._obey_next(shows):
            pass  # if it was killed, that may be noticed only now
        shows = self._client
        if shows is not None and not shows.stands_in:
            if not take:
                client.send(b"N" + json.dumps(self._status).encode())
                self._lost(client)
                return
            shows.send(b"T" + str(client.pid).encode())
        self._strangers.remove(client)
        self._greet(client)

    def _drop(self, place: int) -> None:
        """Drop the output before *place*."""
        del self._log[: place - self._begin]
        self._begin = place
        while self._resizes and self._resizes[0][0] <= place:
            self._size_there = self._resizes.pop(0)[1:]
            self._resizes_gone += 1
        if self._client is None:
            return
        self._client.sent = max(self._client.sent, place)
        self._client.resizes = max(self._client.resizes, self._resizes_gone)

    # -- the loop --------------------------------------------------------------------------------------------------------------------

    def run(self, starter: Client) -> None:
        """Serve until the program has ended and its end was seen, or was kept long enough."""
        self._client = starter
        while not self._over:
            if starter is not self._client and self._master < 0:
                break  # the lamina that wanted the program is gone
            self._stand_in_if_due()
            self._send_output()
            for fd, happened in self._wait():
                self._serve(fd, happened)
                if self._over:
                    break
            now = time.monotonic()
            if now >= self._check_at:
                self._check_files()
            if now >= self._forget_at or (self._unwanted and self._is_over and self._client is None):
                break
        self._vanish()

    def _wait(self) -> list[tuple[int, int]]:
        poll = select.poll()
        client = self._client
        waits = [self._listener.fileno(), self._bypass, self._leader, self._stand_in, self._hearing]
        waits += [stranger.connection.fileno() for stranger in self._strangers]
        for fd in waits:
            if fd >= 0:
                poll.register(fd, select.POLLIN)
        if client is not None:
            poll.register(client.connection, select.POLLIN | (select.POLLOUT if client.blocked else 0))
        if self._master >= 0 and not self._read_all:
            wanted = (select.POLLIN if self._has_room else 0) | (select.POLLOUT if self._typed else 0)
            if wanted:
                poll.register(self._master, wanted)
        if self._late:
            self._late = False
            time.sleep(_RETRY_S)
        after = min(self._check_at, self._forget_at) - time.monotonic()
        if self._status["ended"] is not None and not self._read_all and self._has_room:
            after = 0  # its last output is still to be read
        return poll.poll(max(0, after) * 1000) or ([(self._master, select.POLLIN)] if after == 0 else [])

    def _serve(self, fd: int, happened: int) -> None:
        client = self._client
        if client is not None and fd == client.connection.fileno():
            client.blocked = client.blocked and not happened & (select.POLLOUT | select.POLLHUP)
            if happened & ~select.POLLOUT:
                self._obey_next(client)
        elif fd == self._listener.fileno():
            self._accept()
        elif fd == self._master:
            if happened & select.POLLOUT:
                self._type()
            if happened & ~select.POLLOUT:
                self._read()
        elif fd == self._bypass:
            self._read()
        elif fd == self._leader:
            self._leader_ended()
        elif fd == self._hearing:
            self._hear()
        elif fd == self._stand_in:
            os.waitid(os.P_PIDFD, fd, os.WEXITED)
            os.close(fd)
            self._stand_in = -1
        else:
            for stranger in [it for it in self._strangers if it.connection.fileno() == fd]:
                self._obey_next(stranger)


def main(argv: Sequence[str]) -> None:
    """Hold one terminal until it is no longer needed."""
    directory, name, columns, lines, at, *words = argv
    if os.fork():
        os._exit(0)  # the process that started us waits for this one only
    os.umask(0o077)
    with suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write("lamina-holder")
    starter = Client(socket.socket(fileno=os.dup(0)))
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    try:
        Holder(directory, name, (int(columns), int(lines)), words[int(at) :], words[: int(at)]).run(starter)
    except Exception:
        import traceback  # a bug of ours, which ends the program: at least write down what it was

        with open(f"{directory}/crash.log", "a") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} holder {os.getpid()} of {name}\n{traceback.format_exc()}")
        raise


if __name__ == "__main__":
    main(sys.argv[1:])

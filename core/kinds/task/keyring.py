"""The keyrings of a process (keyrings(7)): a session keyring of its own is made again; keys are not kept, and refused by name.

What counts is whether it shares lamina's own session keyring, which all that lamina starts has; the user's default one is nobody's own.
The serial number of a keyring that is made again is new.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.errors import Blocker
from lamina.core.ffi import C
from lamina.core.image.supplement import Values
from lamina.core.objects.attempt import Attempt
from lamina.core.objects.task_kind import Answer, Asking, CapturedTask, CapturedThread, Stage, TaskKind, TaskRecord, ThreadKind

_GET_ID, _JOIN, _CHOWN, _DESCRIBE, _LINK, _READ = 0, 1, 4, 6, 8, 11  # KEYCTL_ (linux/keyctl.h)
_THREAD, _PROCESS, _SESSION, _USER = -1, -2, -3, -4  # KEY_SPEC_..._KEYRING
_ANONYMOUS: Final = "_ses"
_OF_THE_USER: Final = ("_uid.", "_uid_ses.")
_LINKED: Final = ";user"
_DESCRIPTION: Final = 300
_KEYS: Final = 8
_FIX: Final = "keyctl(1) can unlink them"


@dataclass(frozen=True)
class Keyrings:
    """What a process has of its own.

    Attributes:
        session: serial number of its session keyring; below 0 if it has none.
        user: of the user's keyring.
        held: bytes that its process keyring lists: above 0 if it holds keys.
        description: of its session keyring: "type;uid;gid;permissions;description"; "" if it is lamina's, too.
        keys: in that, the first ones.
    """

    session: int
    user: int
    held: int
    description: str
    keys: tuple[int, ...]

    @property
    def name(self) -> str:
        """What its own session keyring is called; "" if it has none of its own."""
        name = self.description.split(";", 4)[-1]
        return "" if name.startswith(_OF_THE_USER) else name


class SessionKeyring(TaskKind[Keyrings]):
    """The session keyring; other keyrings must be empty."""

    name = "session keyring"
    stage = Stage.BEFORE_CHILDREN

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """In the leader."""
        text, listed = calls.room(_DESCRIPTION), calls.room(4 * _KEYS)
        session = calls.add("keyctl", _GET_ID, _SESSION, 0, any_result=True)
        user = calls.add("keyctl", _GET_ID, _USER, 0, any_result=True)
        process = calls.add("keyctl", _READ, _PROCESS, 0, 0, any_result=True)
        described = calls.add("keyctl", _DESCRIBE, _SESSION, text, _DESCRIPTION, any_result=True)
        read = calls.add("keyctl", _READ, _SESSION, listed, 4 * _KEYS, any_result=True)

        def answer() -> Keyrings:
            description = ""
            if session.result > 0 and described.result > 0 and session.result != C.lm_session_keyring():
                raw = calls.output(text, min(described.result, _DESCRIPTION))
                description = raw.rstrip(b"\0").decode(errors="replace")
            count = min(max(read.result, 0) // 4, _KEYS)
            keys = struct.unpack(f"<{count}i", calls.output(listed, 4 * count))
            return Keyrings(session.result, user.result, process.result, description, keys)

        return answer

    def late_blockers(self, value: Keyrings, seen: CapturedTask) -> Iterable[Blocker]:
        """Keys that would be lost."""
        if value.held > 0:
            yield Blocker("keyrings", "its process keyring holds keys, which images cannot hold", _FIX)
        if value.name and [key for key in value.keys if key != value.user]:
            yield Blocker("keyrings", f"its session keyring {value.name!r:.80} holds keys, which images cannot hold", _FIX)
        elif ";" in value.name:
            yield Blocker("keyrings", f"its session keyring has the name {value.name!r:.80}, which cannot be kept")

    def supplement(self, value: Keyrings) -> Values:
        """Its name, with a mark if the user's keyring is in it."""
        if not value.name:
            return {}
        return {"session_keyring": value.name + (_LINKED if value.keys else ""), "session_keyring_serial": value.session}

    def rebuild(self, record: TaskRecord, calls: CallList) -> Iterable[Attempt]:
        """Its own session keyring, if it had one that its parent had not: children inherit it."""
        if not _own(record):
            return []
        if "session_keyring" not in record.kept:
            sentence = f"process {record.pid}: it has the session keyring of its parent, which it had not before"
            return [Attempt(Call("keyctl", (), result=-1), lambda _: sentence)]
        name, creds = str(record.kept["session_keyring"]).removesuffix(_LINKED), record.core.thread_core.creds
        joined = calls.add("keyctl", _JOIN, 0 if name == _ANONYMOUS else calls.path(name), any_result=True)
        calls.add("keyctl", _CHOWN, _SESSION, creds.euid, creds.egid, any_result=True)
        return [Attempt(joined, lambda _: f"process {record.pid}: its session keyring {name!r} cannot be made again")]


def _own(record: TaskRecord) -> bool:
    return record.kept.get("session_keyring_serial") != record.of_parent.get("session_keyring_serial")


class UserKeyringLink(TaskKind[None]):
    """The user's keyring in the session's, if it was there: put in when the process is who it was."""

    name = "link to the user's keyring"
    stage = Stage.LAST

    def rebuild(self, record: TaskRecord, calls: CallList) -> Iterable[Attempt]:
        """`SessionKeyring.supplement` says whether it was there."""
        if not _own(record) or not str(record.kept.get("session_keyring", "")).endswith(_LINKED):
            return []
        linked = calls.add("keyctl", _LINK, _USER, _SESSION, any_result=True)
        return [Attempt(linked, lambda _: f"process {record.pid}: the user's keyring is not in its session keyring")]


class KeyringsOfThread(ThreadKind[tuple[int, int]]):
    """(serial number of its session keyring, bytes that its thread keyring lists)."""

    name = "keyrings of a thread"

    def ask(self, calls: CallList, asking: Asking) -> Answer:
        """In the thread itself."""
        session = calls.add("keyctl", _GET_ID, _SESSION, 0, any_result=True)
        thread = calls.add("keyctl", _READ, _THREAD, 0, 0, any_result=True)
        return lambda: (session.result, thread.result)

    def late_blockers(self, value: tuple[int, int], seen: CapturedThread) -> Iterable[Blocker]:
        """What it does not share with its leader."""
        session, held = value
        if held > 0:
            yield Blocker("keyrings", "its thread keyring holds keys, which images cannot hold", _FIX)
        if session > 0 and seen.leader and session != seen.leader.of(self)[0]:
            yield Blocker("keyrings", "it has a session keyring of its own, which its process does not share: not supported yet")

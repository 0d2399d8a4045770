"""The keyrings of a process (keyrings(7)): a session keyring of its own is made again; keys are not kept, and refused by name.

What counts is whether it shares lamina's own session keyring, which all that lamina starts has; the user's default one is nobody's own.
The serial number of a keyring that is made again is new.
"""

import struct
from dataclasses import dataclass
from typing import Final

from lamina.core.attach.calls import Call, CallList, DataRef
from lamina.core.errors import Blocker
from lamina.core.ffi import C
from lamina.core.image.schema import creds_entry
from lamina.core.image.supplement import Value, Values
from lamina.core.objects.setting import Wanted

_GET_ID, _JOIN, _CHOWN, _DESCRIBE, _LINK, _READ = 0, 1, 4, 6, 8, 11  # KEYCTL_ (linux/keyctl.h)
_THREAD, _PROCESS, _SESSION, _USER = -1, -2, -3, -4  # KEY_SPEC_..._KEYRING
_ANONYMOUS: Final = "_ses"
_OF_THE_USER: Final = ("_uid.", "_uid_ses.")
_LINKED: Final = ";user"
_DESCRIPTION: Final = 300
_KEYS: Final = 8
_FIX: Final = "keyctl(1) can unlink them"


@dataclass(frozen=True)
class ThreadQuestion:
    """Calls that ask a thread for its own keyrings."""

    session: Call
    thread: Call

    def blockers(self, of_leader: int) -> list[Blocker]:
        """What it does not share with the leader, whose session keyring is *of_leader*."""
        found = []
        if self.thread.result > 0:
            found.append(Blocker("keyrings", "its thread keyring holds keys, which images cannot hold", _FIX))
        if self.session.result > 0 and self.session.result != of_leader:
            found.append(Blocker("keyrings", "it has a session keyring of its own, which its process does not share: not supported yet"))
        return found


def ask_thread(calls: CallList) -> ThreadQuestion:
    """Append the calls, to be run in the thread itself."""
    session = calls.add("keyctl", _GET_ID, _SESSION, 0, any_result=True)
    return ThreadQuestion(session, calls.add("keyctl", _READ, _THREAD, 0, 0, any_result=True))


@dataclass(frozen=True)
class Question:
    """Calls that ask a process; `kept` and `blockers` after the run."""

    calls: CallList
    session: Call
    user: Call
    process: Call
    described: tuple[Call, DataRef]
    listed: tuple[Call, DataRef]

    @property
    def name(self) -> str:
        """What its own session keyring is called; "" if it has none of its own."""
        call, room = self.described
        if self.session.result <= 0 or call.result <= 0 or self.session.result == C.lm_session_keyring():
            return ""
        text = self.calls.output(room, min(call.result, _DESCRIPTION)).rstrip(b"\0").decode(errors="replace")
        name = text.split(";", 4)[-1]  # type;uid;gid;permissions;description
        return "" if name.startswith(_OF_THE_USER) else name

    @property
    def _keys(self) -> list[int]:
        call, room = self.listed
        count = min(max(call.result, 0) // 4, _KEYS)
        return list(struct.unpack(f"<{count}i", self.calls.output(room, 4 * count)))

    def kept(self) -> dict[str, Value]:
        """For the supplement."""
        if not self.name:
            return {}
        tail = _LINKED if self._keys else ""
        return {"session_keyring": self.name + tail, "session_keyring_serial": self.session.result}

    def blockers(self) -> list[Blocker]:
        """Keys that would be lost."""
        found = []
        if self.process.result > 0:
            found.append(Blocker("keyrings", "its process keyring holds keys, which images cannot hold", _FIX))
        if self.name and [key for key in self._keys if key != self.user.result]:
            found.append(Blocker("keyrings", f"its session keyring {self.name!r:.80} holds keys, which images cannot hold", _FIX))
        elif ";" in self.name:
            found.append(Blocker("keyrings", f"its session keyring has the name {self.name!r:.80}, which cannot be kept"))
        return found


def ask(calls: CallList) -> Question:
    """Append the calls (in the leader)."""
    description, keys = calls.room(_DESCRIPTION), calls.room(4 * _KEYS)
    return Question(
        calls, calls.add("keyctl", _GET_ID, _SESSION, 0, any_result=True), calls.add("keyctl", _GET_ID, _USER, 0, any_result=True),
        calls.add("keyctl", _READ, _PROCESS, 0, 0, any_result=True),
        (calls.add("keyctl", _DESCRIBE, _SESSION, description, _DESCRIPTION, any_result=True), description),
        (calls.add("keyctl", _READ, _SESSION, keys, 4 * _KEYS, any_result=True), keys),
    )  # fmt: skip


def join(kept: Values, of_parent: Values, creds: creds_entry, pid: int, calls: CallList) -> list[Wanted]:
    """Step 6, in a process that has just been made, before its children, which inherit it: its own session keyring, if it had one.

    *of_parent*: what its parent has; {} for the root, which has lamina's. *creds*: who it will be.
    """
    if kept.get("session_keyring_serial") == of_parent.get("session_keyring_serial"):
        return []
    if "session_keyring" not in kept:
        sentence = f"process {pid}: it has the session keyring of its parent, which it had not before"
        return [Wanted(Call("keyctl", (), result=-1), lambda _: sentence)]
    name = str(kept["session_keyring"]).removesuffix(_LINKED)
    joined = calls.add("keyctl", _JOIN, 0 if name == _ANONYMOUS else calls.path(name), any_result=True)
    calls.add("keyctl", _CHOWN, _SESSION, creds.euid, creds.egid, any_result=True)
    return [Wanted(joined, lambda _: f"process {pid}: its session keyring {name!r} cannot be made again")]


def link(kept: Values, of_parent: Values, pid: int, calls: CallList) -> list[Wanted]:
    """Step 11, in the leader, when it is who it was: the user's keyring into the session's, if it was there."""
    own = kept.get("session_keyring_serial") != of_parent.get("session_keyring_serial")
    if not own or not str(kept.get("session_keyring", "")).endswith(_LINKED):
        return []
    linked = calls.add("keyctl", _LINK, _USER, _SESSION, any_result=True)
    return [Wanted(linked, lambda _: f"process {pid}: the user's keyring is not in its session keyring")]

"""All settings of a thread that CRIU's images have no field for (see `setting.Setting`): asked in a dump, put back in a restore."""

from collections.abc import Mapping
from typing import Final

from lamina.core.attach.calls import CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value, Values
from lamina.core.kinds.memory.mempolicy import MemoryPolicy
from lamina.core.kinds.thread import speculation
from lamina.core.kinds.thread.affinity import Affinity
from lamina.core.kinds.thread.ioprio import IoPriority
from lamina.core.kinds.thread.machine_checks import MachineChecks
from lamina.core.kinds.thread.sched import Slice, UtilMax, UtilMin
from lamina.core.kinds.thread.timer_slack import TimerSlack
from lamina.core.objects.setting import Answer, Setting, Wanted

SETTINGS: Final[tuple[Setting, ...]] = (
    Affinity(), IoPriority(), TimerSlack(), MachineChecks(), MemoryPolicy(), Slice(), UtilMin(), UtilMax(),
    speculation.STORE_BYPASS, speculation.INDIRECT_BRANCH, speculation.L1D_FLUSH,
)  # fmt: skip


class Question:
    """The calls that ask a thread; `answer` after the run."""

    def __init__(self, calls: CallList) -> None:
        self._asked: list[tuple[Setting, Answer]] = [(setting, setting.ask(calls)) for setting in SETTINGS]

    def answer(self) -> dict[str, Value | None]:
        """Name → value; None where this kernel or machine has no such setting."""
        return {setting.name: answer() for setting, answer in self._asked}


def to_keep(answers: Mapping[str, Value | None]) -> dict[str, Value]:
    """What belongs in the supplement: all that is not the default."""
    return {setting.name: value for setting in SETTINGS if (value := answers[setting.name]) is not None and value != setting.default}


def rebuild(kept: Values, now: Mapping[str, Value | None], tid: int, core: thread_core_entry, calls: CallList) -> list[Wanted]:
    """Step 11, in the thread itself, after `sched.rebuild` and before `creds.rebuild`: set what is not as it was.

    *kept*: from the supplement; *now*: what a `Question` in the new thread brought.
    """
    done = []
    for setting in SETTINGS:
        value = kept.get(setting.name, setting.default)
        # What this machine does not know is lost only if it was set.
        if now[setting.name] == value or (now[setting.name] is None and setting.name not in kept):
            continue
        call = setting.rebuild(value, core, calls)
        done.append(Wanted(call, lambda result, it=setting, was=value: it.failed(tid, was, result)))  # type: ignore[misc]
    return done

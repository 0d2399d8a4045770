"""What a thread gets for memory that the machine finds broken: PR_MCE_KILL. The default is vm.memory_failure_early_kill of sysctl."""

from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Answer, Setting

PR_MCE_KILL, PR_MCE_KILL_GET = 33, 34
_CLEAR, _SET = 0, 1
_DEFAULT: Final = 2


class MachineChecks(Setting):
    """PR_MCE_KILL_LATE (0), EARLY (1) or DEFAULT (2)."""

    name = "mce_kill"
    what = "machine-check policy (PR_MCE_KILL)"
    default = _DEFAULT

    def ask(self, calls: CallList) -> Answer:
        """Of the calling thread."""
        call = calls.add("prctl", PR_MCE_KILL_GET, 0, 0, 0, 0, any_result=True)
        return lambda: call.result if call.result >= 0 else None

    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Needs no right."""
        how = (_CLEAR, 0) if value == _DEFAULT else (_SET, int(value))
        return calls.add("prctl", PR_MCE_KILL, *how, 0, 0, any_result=True)

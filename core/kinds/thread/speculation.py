"""What the processor may guess in a thread: PR_SET_SPECULATION_CTRL, one setting a kind (Documentation/userspace-api/spec_ctrl.rst)."""

from typing import Final

from lamina.core.attach.calls import Call, CallList
from lamina.core.image.schema import thread_core_entry
from lamina.core.image.supplement import Value
from lamina.core.objects.setting import Answer, Setting

PR_GET_SPECULATION_CTRL, PR_SET_SPECULATION_CTRL = 52, 53
_PRCTL, _ENABLE, _DISABLE = 1, 2, 4
_STATE: Final = 0x1E
"""PR_SPEC_ENABLE, DISABLE, FORCE_DISABLE, DISABLE_NOEXEC."""


class Speculation(Setting):
    """A PR_SPEC_ state, where threads may choose one; None where the machine or its boot line has chosen for all."""

    def __init__(self, name: str, number: int, what: str, default: int = _ENABLE) -> None:
        self.name, self.what, self.default = name, what, default
        self._number = number

    def ask(self, calls: CallList) -> Answer:
        """Of the calling thread."""
        call = calls.add("prctl", PR_GET_SPECULATION_CTRL, self._number, 0, 0, 0, any_result=True)
        return lambda: call.result & _STATE if call.result > 0 and call.result & _PRCTL else None

    def rebuild(self, value: Value, core: thread_core_entry, calls: CallList) -> Call:
        """Whoever has FORCE_DISABLE cannot go back, lamina's children neither."""
        return calls.add("prctl", PR_SET_SPECULATION_CTRL, self._number, int(value), 0, 0, any_result=True)


STORE_BYPASS: Final = Speculation("spec_store_bypass", 0, "speculation control of store bypass")
INDIRECT_BRANCH: Final = Speculation("spec_indirect_branch", 1, "speculation control of indirect branches")
L1D_FLUSH: Final = Speculation("spec_l1d_flush", 2, "flushing of the L1D cache", default=_DISABLE)

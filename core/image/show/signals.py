"""A queued signal: `siginfo_t` as signals(7) and include/uapi/asm-generic/siginfo.h have it on 64-bit machines."""

import signal
import struct
from typing import Any

from lamina.core.image.show.names import CHILD_CODE, SIGNAL_CODE

_NAMES = {int(it): it.name for it in signal.Signals if it < 32}
_REAL_TIME = 34  # SIGRTMIN of every C library: it keeps two for itself


def signal_name(number: int) -> str:
    """ "SIGUSR1", "SIGRTMIN+3", or the number."""
    if _REAL_TIME <= number <= 64:
        return f"SIGRTMIN+{number - _REAL_TIME}"
    return _NAMES.get(number, str(number))


def signal_set(mask: int) -> str:
    """The signals of a mask by name."""
    return " ".join(signal_name(number + 1) for number in range(64) if mask >> number & 1)


def decode_siginfo(raw: bytes) -> dict[str, Any]:
    """The fields that the signal's code says are there; empty if *raw* is too short to be a siginfo."""
    if len(raw) < 32:
        return {}
    number, errnum, code = struct.unpack_from("<iii", raw)
    child = number == signal.SIGCHLD and code in CHILD_CODE
    fault = code > 0 and number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
    found: dict[str, Any] = {"signal": signal_name(number), "code": (CHILD_CODE if child else SIGNAL_CODE).get(code, code), "errno": errnum}
    first, second = struct.unpack_from("<iI", raw, 16)
    if child:
        return found | {"pid": first, "uid": second, "status": struct.unpack_from("<i", raw, 24)[0]}
    if fault:
        return found | {"address": struct.unpack_from("<Q", raw, 16)[0]}
    if code == -2:
        return found | {"timer": first, "overrun": second, "value": struct.unpack_from("<Q", raw, 24)[0]}
    if number == signal.SIGIO and code > 0:
        return found | {"band": struct.unpack_from("<q", raw, 16)[0], "fd": struct.unpack_from("<i", raw, 24)[0]}
    found |= {"pid": first, "uid": second}
    return found | ({"value": struct.unpack_from("<Q", raw, 24)[0]} if code in (-1, -3) else {})


def exit_status(code: int) -> str:
    """A wait(2) status in words."""
    if code & 0x7F:
        return f"killed by {signal_name(code & 0x7F)}"
    return f"exit status {code >> 8}"

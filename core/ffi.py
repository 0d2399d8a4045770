"""The one door to C. Only this module imports the compiled extension; everyone else imports `C`, `ffi` and `check` from here."""

import os
from typing import Any

from lamina.core._native import ffi as _ffi
from lamina.core._native import lib as _lib
from lamina.core.errors import NativeError

ffi: Any = _ffi
C: Any = _lib


def new_error() -> Any:
    """A zeroed `lm_error` to hand to a C function as its last argument."""
    return ffi.new("lm_error *")


def check(result: int, err: Any) -> int:
    """Return *result* unless it is negative; then raise what *err* holds.

    Raises:
        NativeError: with errno, the object (a tid, a descriptor, an address) and C's own sentence.
    """
    if result >= 0:
        return result
    where = ffi.string(err.where).decode()
    detail = ffi.string(err.detail).decode(errors="replace")
    reason = os.strerror(err.errnum) if err.errnum else ""
    raise NativeError(where=where, errnum=err.errnum, object_id=err.object, detail=detail, reason=reason)

"""renameat2(2): what it says, and that it keeps nothing."""

import errno
import os
from pathlib import Path

import pytest

from lamina.core.errors import NativeError
from lamina.core.ffi import C, check, new_error
from tests.unit.image.test_native_leaks import grows


def call(function: str, one: Path, other: Path) -> None:
    err = new_error()
    check(getattr(C, function)(os.fsencode(one), os.fsencode(other), err), err)


def test_exchange_and_rename_without_replacing(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.write_text("file")
    call("lm_rename_exchange", one, other)
    assert one.read_text() == "file" and other.is_dir()
    with pytest.raises(NativeError, match=r"RENAME_EXCHANGE") as caught:
        call("lm_rename_exchange", one, tmp_path / "none")
    assert caught.value.errnum == errno.ENOENT
    with pytest.raises(NativeError, match=r"RENAME_NOREPLACE") as caught:
        call("lm_rename_new", one, other)
    assert caught.value.errnum == errno.EEXIST
    call("lm_rename_new", one, tmp_path / "new")
    assert (tmp_path / "new").read_text() == "file"


def test_nothing_is_kept(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()

    def once() -> None:
        call("lm_rename_exchange", one, other)
        with pytest.raises(NativeError):
            call("lm_rename_new", one, other)

    before = len(os.listdir("/proc/self/fd"))
    assert grows(once, 300) < 4096
    assert len(os.listdir("/proc/self/fd")) == before

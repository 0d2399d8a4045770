"""What security modules keep for a task beside its profile."""

from pathlib import Path

from lamina.core.kinds.thread.security import set_attributes


def test_what_a_security_module_keeps_for_a_task(tmp_path: Path) -> None:
    """As SELinux shows it: empty unless set, with or without a NUL at the end."""
    for name, text in {"current": b"me\0", "exec": b"other\0", "fscreate": b"", "keycreate": b"\0", "sockcreate": b"x\n"}.items():
        (tmp_path / name).write_bytes(text)
    assert set_attributes(tmp_path) == ["exec", "sockcreate"]
    assert set_attributes(tmp_path / "absent") == []

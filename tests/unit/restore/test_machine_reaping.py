"""A pid that is being reaped just now is waited for, and what was seen of it before is not believed."""

import subprocess
import threading
import time

from lamina.core.restore.machine import pid_blockers, wait_until_reaped


def test_a_zombie_whose_parent_reaps_it_meanwhile_is_no_blocker() -> None:
    for delay_ms in (0, 1, 3, 10, 30) * 4:
        ended = subprocess.Popen(["true"])
        while not any("zombie" in str(blocker) for blocker in pid_blockers({ended.pid})):
            assert ended.returncode is None
        reaper = threading.Timer(delay_ms / 1000, ended.wait)
        reaper.start()
        assert wait_until_reaped({ended.pid}) == []
        reaper.join()


def test_a_living_holder_is_named_at_once() -> None:
    living = subprocess.Popen(["sleep", "1000"])
    try:
        began = time.monotonic()
        assert "sleep" in str(wait_until_reaped({living.pid}, patience_s=60)[0])
        assert time.monotonic() - began < 10
    finally:
        living.kill()
        living.wait()

"""Makes the pictures in this directory from a real session: `make screenshots`, as root, with redis-server installed.

It runs in a pid namespace of its own, so that no process of the machine is in a picture. Each picture is an SVG; where rsvg-convert is
installed, there is a PNG of it in build/screenshots, for a quick look. What is shown, scenes.py says.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from screenshots import scenes  # noqa: E402
from screenshots.camera import Camera  # noqa: E402

INSIDE = "LAMINA_SCREENSHOTS_INSIDE"


def main() -> int:
    """Make all pictures, or those of the scenes that are named."""
    if os.environ.get(INSIDE) is None:
        command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, str(HERE / "make.py"), *sys.argv[1:]]
        with tempfile.TemporaryDirectory() as place:
            here = {"LAMINA_STATE_DIR": f"{place}/remembered", "XDG_STATE_HOME": f"{place}/state", "XDG_CONFIG_HOME": f"{place}/config"}
            look = {
                "HOME": place,
                "TERM": "xterm-256color",
                "COLORTERM": "truecolor",
                "LC_ALL": "C.UTF-8",
                "TZ": "UTC",
                "PATH": f"{place}:{os.environ['PATH']}",
            }
            return subprocess.run(command, env=os.environ | here | look | {INSIDE: "1"}, check=False, cwd=place).returncode
    if missing := [name for name in ("redis-server", "redis-cli") if shutil.which(name) is None]:
        sys.exit(f"{missing[0]} is not installed")
    # A restore ends a program only if its parent shows that it reaps; `until` does.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    # Not what stands in its place on some machines.
    (Path.cwd() / "python3").symlink_to(Path(sys.executable).resolve())
    camera = Camera(HERE, HERE.parent / "build" / "screenshots")
    for name, scene in scenes.ALL.items():
        if name in sys.argv[1:] or not sys.argv[1:]:
            asyncio.run(scene(camera))
    return 0


if __name__ == "__main__":
    sys.exit(main())

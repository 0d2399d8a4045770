"""Leads the session of a pseudo terminal and runs one program in it as its foreground job, as a shell would: `python -m … COMMAND…`.

The program is not the session leader itself, so that it can be dumped as a shell job and restored into another terminal.
"""

import os
import subprocess
import sys

from lamina.tui.terminal.reports import Reports


def main() -> int:
    """Run the command; returns its exit status, 127 if there is no such program."""
    from lamina.core.restore.foreground import wait_as_foreground_job

    reports = Reports()
    try:
        # It must get the terminal before it uses it: setpgid is called in the child, tcsetpgrp before its first read returns.
        child = subprocess.Popen(sys.argv[1:], process_group=0)
    except OSError as error:
        reports.failed(f"cannot run {sys.argv[1]}: {os.strerror(error.errno or 0)}")
        return 127
    return wait_as_foreground_job(child.pid, lambda: reports.runs(child.pid))


if __name__ == "__main__":
    sys.exit(main())

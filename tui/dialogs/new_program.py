"""Asks for the command line of a program to be started in a terminal of lamina's own."""

import os
import shlex
import shutil

from lamina.tui.dialogs.ask_text import AskText


def ask_command(before: str = "") -> AskText:
    """A dialog that answers with a command line that can be run; *before*: the one typed last time."""
    return AskText("start a program, as a shell would", "python3 -q", before, wrong_command)


def wrong_command(line: str) -> str:
    """Why *line* cannot be run, in words; "" if it can."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        return f"{error}".lower()
    if not words:
        return "a program and its arguments"
    if shutil.which(words[0]) is None:
        return f"there is no program {words[0]}" + ("" if os.sep in words[0] else " in PATH")
    return ""

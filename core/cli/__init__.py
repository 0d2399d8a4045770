"""The command line: the one part of core that prints. One file per group of verbs; `main` is the way in.

Nothing of the engine is imported until a verb runs, so that `lamina --help` and a typing mistake answer at once.
"""

from lamina.core.cli.entry import can_work, main, parse, run

__all__ = ["can_work", "main", "parse", "run"]

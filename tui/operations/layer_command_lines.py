"""The command lines that do the same as the operations on the layers of a stack."""

import shlex
from collections.abc import Sequence
from pathlib import Path


def _line(*words: str | Path | int | None) -> str:
    return shlex.join(["lamina", *(str(word) for word in words if word is not None)])


def _dry(dry_run: bool) -> str | None:
    return "--dry-run" if dry_run else None


def _words(text: str) -> tuple[str, ...]:
    """What must come before a text that looks like an option."""
    return ("--",) if text.startswith("-") else ()


def verify_line(place: Path) -> str:
    """`lamina verify shots/3`, or of a whole stack `lamina verify shots`."""
    return _line("verify", place)


def label_line(layer: Path, text: str) -> str:
    """`lamina label shots/3 'after import'`."""
    return _line("label", layer, *_words(text), text)


def pin_line(layer: Path, reason: str) -> str:
    """`lamina pin shots/3 'before the upgrade'`."""
    return _line("pin", layer, *_words(reason), reason or None)


def unpin_line(layer: Path) -> str:
    """`lamina unpin shots/3`."""
    return _line("unpin", layer)


def drop_line(layer: Path, dry_run: bool = False) -> str:
    """`lamina drop shots/3`."""
    return _line("drop", layer, _dry(dry_run))


def undo_line(stack: Path, name: str) -> str:
    """`lamina undo shots/3`: where it was; without a name what was dropped last."""
    return _line("undo", stack / name if name else stack)


def empty_line(stack: Path, name: str = "", dry_run: bool = False) -> str:
    """`lamina trash shots --empty`, or of one layer `… --empty 3`."""
    return _line("trash", stack, "--empty", name or None, _dry(dry_run))


def squash_line(first: Path, last: Path, dry_run: bool = False) -> str:
    """`lamina squash shots/1..4`."""
    return _line("squash", f"{first}..{last.name}", _dry(dry_run))


def lossless_line(place: Path, dry_run: bool = False) -> str:
    """`lamina dedup --lossless shots/3`, or of a whole stack `lamina dedup --lossless shots`."""
    return _line("dedup", "--lossless", place, _dry(dry_run))


def prune_line(stack: Path, rules: tuple[str, str, str], dry_run: bool = False) -> str:
    """`lamina prune shots --keep-last 10 --keep-every 1h --max-bytes 20G`; *rules* are the three values, "" for one not given."""
    names = ("--keep-last", "--keep-every", "--max-bytes")
    words = [word for name, value in zip(names, rules, strict=True) if value for word in (name, value)]
    return _line("prune", stack, *words, _dry(dry_run))


def relink_line(layer: Path, to: Path | None, search: Sequence[Path] = (), dry_run: bool = False) -> str:
    """`lamina relink shots/3 --to elsewhere/2`, or `… --search elsewhere`."""
    where = ("--to", to) if to else tuple(word for place in search for word in ("--search", place))
    return _line("relink", layer, *where, _dry(dry_run))


def export_line(layer: Path, output: Path, form: str) -> str:
    """`lamina export shots/3 --output shots-3.tar.zst`; *form*: "", "alone" or "flat"."""
    return _line("export", layer, "--output", output, f"--{form}" if form else None)


def import_line(archive: Path, stack: Path, name: str = "", trust: bool = False) -> str:
    """`lamina import shots-3.tar.zst other --as theirs`."""
    return _line("import", archive, stack, *(("--as", name) if name else ()), "--trust" if trust else None)


def compress_line(verb: str, layer: Path, dry_run: bool = False) -> str:
    """`lamina compress shots/3`, or `lamina expand shots/3`."""
    return _line(verb, layer, _dry(dry_run))

"""The verbs that change a stack, as a user types them, and what must be true however one of them ends.

Used by the tests that let a verb die at every step, and by those that kill it at random moments. A new verb is one more row of `VERBS`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xxhash

from lamina.core.image import owners
from lamina.core.image.layer import Layer
from lamina.core.image.leftovers import IMPORT, REBUILT
from lamina.core.image.stack import Stack
from lamina.core.verify import check_chain

Words = list[object]
Run = Callable[..., object]  # runs lamina with some words to its end


@dataclass(frozen=True)
class Verb:
    """One command over a stack that has layers 1 to 6, 3b on 3, and in the trash `old` on 4.

    Attributes:
        name: of the test.
        words: the command, given the stack.
        before: commands that make the stack what it needs.
        loses: layers may no longer be restorable afterwards, if they say so.
        removes: layers may be gone for good afterwards.
    """

    name: str
    words: Callable[[Path], Words]
    before: Callable[[Path], list[Words]] = lambda _stack: []
    loses: bool = False
    removes: bool = False


def archive_of(stack: Path) -> Path:
    return stack.parent / f"{stack.name}.tar.zst"


VERBS = (
    Verb("squash", lambda s: ["squash", f"{s}/2..{s}/5"]),
    Verb("squash of all", lambda s: ["squash", "--stack", s, "1..6"]),
    Verb("drop", lambda s: ["drop", s / "2", s / "3", s / "4"]),
    Verb("drop of the full layer", lambda s: ["drop", s / "1"]),
    Verb("prune", lambda s: ["prune", s, "--keep-last", 2]),
    Verb("prune to a size", lambda s: ["prune", s, "--keep-last", 3, "--max-bytes", 1], removes=True),
    Verb("undo", lambda s: ["undo", s / "3"], lambda s: [["drop", s / "2", s / "3"]]),
    Verb("undo of a parent", lambda s: ["undo", s / "4"], lambda s: [["drop", s / "4"]]),
    Verb("emptying the trash", lambda s: ["trash", s, "--empty", "2"], lambda s: [["drop", s / "2", s / "3"]], removes=True),
    Verb("pin", lambda s: ["pin", s / "3", "keep"]),
    Verb("dedup", lambda s: ["dedup", s / "6"], loses=True),
    Verb("lossless dedup", lambda s: ["dedup", "--lossless", s]),
    Verb(
        "import",
        lambda s: ["import", archive_of(s), s],
        lambda s: [["export", s / "6", "--output", archive_of(s)], ["drop", s / "5", s / "6"], ["trash", s, "--empty"]],
    ),
    Verb("compress", lambda s: ["compress", s / "1"]),
    Verb("expand", lambda s: ["expand", s / "1"], lambda s: [["compress", s / "1"]]),
)


def digest_of(layer: Layer) -> str:
    """All memory that a layer resolves to: which pages, and what they hold."""
    digest = xxhash.xxh3_128()
    chain = layer.chain()
    for which in layer.objects:
        owned = owners.resolve(chain, which)
        runs = owned.runs - owned.punched
        digest.update(f"{which}".encode() + runs.starts.tobytes() + runs.ends.tobytes())
        pieces = []
        for share in owned.shares:
            content = share.open()
            pieces += [(start, end - start, content, at) for (start, end), at in zip(share.runs, share.offsets.tolist(), strict=True)]
        for start, size, content, at in sorted(pieces, key=lambda piece: piece[0]):
            assert start is not None
            digest.update(content.pread(size, at))
        for content in {id(piece[2]): piece[2] for piece in pieces}.values():
            content.close()
    return digest.hexdigest()


def known_layers(stack: Path) -> dict[str, str]:
    """`digest_of` every layer of a stack that is whole, dropped ones too, by id."""
    found = Stack.open(stack)
    assert found.unreadable == ()
    known = {}
    for layer in (*found.layers, *found.trashed):
        assert layer.sidecar and not check_chain(layer, contents=True), layer
        known[layer.sidecar.layer_id] = digest_of(layer)
    return known


def require_all(stack: Path, known: dict[str, str], verb: Verb) -> None:
    """Every layer of *known* is there and whole, with the same memory; or it says why not, if *verb* may do that to it."""
    found = Stack.open(stack)
    assert found.unreadable == (), found.unreadable
    there: dict[str, Layer] = {}
    for layer in (*found.layers, *found.trashed):
        assert layer.sidecar is not None
        there[layer.sidecar.layer_id] = layer
    assert verb.removes or set(known) <= set(there), f"layers are gone: {set(known) - set(there)}"
    for layer_id in set(known) & set(there):
        layer = there[layer_id]
        findings = check_chain(layer, contents=True)
        if findings:
            assert verb.loses and all("punched" in it.why for it in findings), (layer, findings)
        else:
            assert digest_of(layer) == known[layer_id], f"{layer} is whole, and another memory than before"


def leftovers_of(stack: Path) -> list[str]:
    """What a dead lamina left in a stack."""
    names = [path for path in stack.iterdir() if path.is_symlink() or path.name.startswith((REBUILT, IMPORT))]
    inside = [path for path in stack.glob("*/.lamina-*") if not path.parent.name.startswith((REBUILT, IMPORT))]
    return sorted(str(path.relative_to(stack)) for path in (*names, *inside))


def shape_of(stack: Path) -> dict[str, tuple[str | None, str]]:
    """What a finished command leaves: each layer's name, its parent, and its own pages."""
    found = Stack.open(stack)
    return {
        layer.name: (layer.parent_link, repr([(which, hash(layer.pagemap(which).present)) for which in layer.objects]))
        for layer in (*found.layers, *found.trashed)
    }


def random_bytes(seed: int, size: int) -> bytes:
    """Content that no other page has."""
    return np.random.default_rng(seed).bytes(size)


def same_time(stack: Path) -> int:
    """Bytes on disk, to see that a dry run changes nothing."""
    return sum(os.lstat(path).st_blocks for path in stack.rglob("*"))

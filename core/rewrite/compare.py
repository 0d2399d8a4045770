"""Checks that a rewritten layer holds the same memory as the old one, before it replaces it."""

from collections.abc import Iterable

from lamina.core.dirty.runs import PageRuns
from lamina.core.errors import ImageError
from lamina.core.events import CancelToken
from lamina.core.image import owners
from lamina.core.image.layer import Layer, Object
from lamina.core.rewrite.copying import Pieces, first_difference
from lamina.core.rewrite.layout import descriptor_of
from lamina.core.verify import check_chain
from lamina.core.verify.findings import Finding


def require_same(old: Layer, new: Layer, changed: Iterable[Object], cancel: CancelToken) -> None:
    """Refuse *new* unless it maps the same pages as *old*, with the same content, and has no finding that *old* has not.

    Content is read only where it is stored in another place than before; *changed* are the objects whose own pages were copied.

    Raises:
        ImageError: it is not the same; the first difference is named.
        Cancelled: *cancel* asked for it.
    """
    found = _where(new, check_chain(new))
    if found and (worse := found - _where(old, check_chain(old))):
        member, file = min(worse)
        first = next(it for it in check_chain(new) if _place(new, it) == (member, file))
        raise _differs(old, f"the new one would not be whole: {first}")
    if old.objects != new.objects:
        raise _differs(old, "the new one has memory of other tasks")
    chains = old.chain(), new.chain()
    copied = set(changed)
    for which in old.objects:
        before, after = (owners.resolve(chain, which) for chain in chains)
        unresolved = (_all(runs for _, runs in it.missing) for it in (before, after))
        if before.runs != after.runs or before.nowhere != after.nowhere or before.punched != after.punched or len(set(unresolved)) > 1:
            raise _differs(old, f"the new one would know other pages of {which}")
        for mine in before.shares:
            for other in after.shares:
                same_file = mine.layer.key == other.layer.key or (
                    which not in copied and mine.layer.key == old.key and other.layer.key == new.key
                )
                pages = (mine.runs & other.runs) - mine.punched
                if pages and not same_file:
                    _compare(old, which, mine, other, pages, cancel)


def _compare(old: Layer, which: Object, mine: owners.Share, other: owners.Share, pages: PageRuns, cancel: CancelToken) -> None:
    there = mine.layer.pagemap(which).present, other.layer.pagemap(which).present
    with mine.open() as one, other.open() as two:
        at = first_difference(descriptor_of(one), descriptor_of(two), Pieces.of(pages, *there), cancel, f"rewriting layer {old.name}")
    if at is not None:
        raise _differs(old, f"a page of {which} came out different (offset {at:#x} of {other.pages_file.name})")


def _all(parts: Iterable[PageRuns]) -> PageRuns:
    found = PageRuns.empty()
    for runs in parts:
        found |= runs
    return found


def _place(layer: Layer, finding: Finding) -> tuple[str, str]:
    """The layer has another name while it is built, so it is "" here."""
    return ("" if finding.layer == layer.directory else str(finding.layer)), finding.file


def _where(layer: Layer, findings: Iterable[Finding]) -> set[tuple[str, str]]:
    return {_place(layer, it) for it in findings}


def _differs(old: Layer, why: str) -> ImageError:
    return ImageError("cannot rewrite", f"layer {old.path}", why, "nothing was changed; lamina verify says more")

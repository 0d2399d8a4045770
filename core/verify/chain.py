"""Checks a layer and what it needs of its ancestors: each layer once, against its direct parent, however many descendants it has."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from lamina.core.errors import ImageError
from lamina.core.events import Meter
from lamina.core.image.layer import MAX_DEPTH, Layer
from lamina.core.verify.collect import collect, readable
from lamina.core.verify.files import check_files
from lamina.core.verify.findings import Finding, Severity
from lamina.core.verify.missing_pages import MissingPages, missing_finding, missing_pages
from lamina.core.verify.page_files import check_memory
from lamina.core.verify.tasks import check_tasks
from lamina.core.verify.unsupported import check_unsupported

# Findings that are told of one layer: nobody reads more.
_MOST = 200


@dataclass
class _Member:
    """What is known of one layer.

    Attributes:
        depth: ancestors.
        above: findings about the memory of its ancestors, the nearest first.
        memory: those about its own.
        missing: pages whose content no layer has.
        own_findings: findings that matter to this layer alone; None until they are asked for.
    """

    layer: Layer
    depth: int
    above: tuple[Finding, ...]
    memory: tuple[Finding, ...]
    missing: MissingPages
    own_findings: tuple[Finding, ...] | None = field(default=None)


class Checker:
    """Checks layers, and uses what it found about one for all its descendants."""

    def __init__(self, meter: Meter | None = None, known: Iterable[Layer] = ()) -> None:
        """*meter*: read the contents, too. *known*: layers that are open already, so that their maps are decoded once."""
        self._meter = meter
        self._known = {layer.key: layer for layer in known}
        self._members: dict[tuple[object, ...], _Member] = {}

    def check(self, layer: Layer) -> list[Finding]:
        """Everything about *layer*, and what is wrong with the memory of its ancestors; what matters most first."""
        member = self._member(layer)
        layer = member.layer
        if member.own_findings is None:
            member.own_findings = tuple(self._own_findings(layer))
        missing = [missing_finding(layer, which, it) for which, causes in member.missing.items() for it in causes]
        found = dict.fromkeys((*member.memory, *member.own_findings, *missing, *member.above))
        if not any(it.stops for it in found):
            found |= dict.fromkeys(_marked(layer))
        worst_first = sorted(found, key=lambda it: -it.severity)
        if len(worst_first) > _MOST:
            worst_first[_MOST:] = [Finding.of(layer, "", f"{len(worst_first) - _MOST} more things were found", worst_first[_MOST].severity)]
        return worst_first

    def _own_findings(self, layer: Layer) -> list[Finding]:
        used: set[str] = set()
        if not readable(lambda: layer.is_pre_dump) or layer.is_pre_dump:
            return check_files(layer, None)
        found = collect(layer, "pstree.img", partial(check_tasks, layer, used))
        whole = not any(it.stops for it in found)
        if whole:
            found += collect(layer, "pstree.img", partial(check_unsupported, layer), Severity.UNSUPPORTED)
        return found + check_files(layer, used if whole else None)

    def _member(self, layer: Layer) -> _Member:
        """What is known of *layer*, found out from its oldest unknown ancestor on."""
        path: list[Layer] = []
        broken: list[Finding] = []
        at: Layer | None = self._known.setdefault(layer.key, layer)
        while at is not None and at.key not in self._members:
            path.append(at)
            at, broken = self._parent(path)
            if broken:
                break
        above = self._members.get(at.key) if at else None
        if above and above.depth + len(path) >= MAX_DEPTH:
            broken = [Finding.of(layer, "parent", f"it has more than {MAX_DEPTH} ancestors")]
        for each in reversed(path):
            memory = (*broken, *check_memory(each, self._meter))
            missing = missing_pages(each, above.layer if above else None, above.missing if above else {})
            if broken:
                # Without the parent nothing can be said about what is inherited, but that is said already.
                missing = {}
            inherited = (*above.memory, *above.above) if above else ()
            stopping = tuple(it for it in inherited if it.stops)
            above = self._members[each.key] = _Member(each, above.depth + 1 if above else 0, stopping, memory, missing)
            broken = []
        return self._members[layer.key]

    def _parent(self, path: list[Layer]) -> tuple[Layer | None, list[Finding]]:
        last = path[-1]
        try:
            parent = last.parent()
        except ImageError as error:
            return None, [Finding.from_error(last, "parent", replace(error, obj=str(last.file("parent"))))]
        if parent is None:
            return None, []
        parent = self._known.setdefault(parent.key, parent)
        if any(parent is below for below in path):
            return None, [Finding.of(last, "parent", f"its parents form a circle at {parent.name}")]
        if len(path) > MAX_DEPTH:
            return None, [Finding.of(path[0], "parent", f"it has more than {MAX_DEPTH} ancestors")]
        return parent, []


def _marked(layer: Layer) -> list[Finding]:
    sidecar = layer.sidecar
    if sidecar and not sidecar.restorable:
        return [Finding.of(layer, "lamina.json", f"it says that the layer cannot be restored: {sidecar.why_not or 'without a reason'}")]
    return []


def check_chain(layer: Layer, contents: bool = False, meter: Meter | None = None, ours: bool = False) -> list[Finding]:
    """Everything in *layer*, and in what it needs of its ancestors, that stands in the way of a restore. An empty list means that criu can
    restore it, or with *ours* that lamina can, which does not support everything.

    With *contents*, or a *meter* that tells how far it is, every byte is compared with the checksums in the sidecars, as fast as the disk
    reads; without, only what the maps and the small images say: some ms for a layer of any size.
    """
    found = [it for it in Checker(meter or (Meter("verify") if contents else None)).check(layer) if it.stops or (ours and it.refused)]
    if readable(lambda: layer.is_pre_dump) and layer.is_pre_dump:
        found.append(Finding.of(layer, "", layer.memory_only))
    if not found and (away := elsewhere(layer)):
        found.append(away)
    return found


def elsewhere(layer: Layer) -> Finding | None:
    """The finding about a layer that needs pages which are at a page server; None if all are here."""
    for member in layer.chain():
        if where := member.pages_elsewhere:
            fix = "restore it there: copy what is here into its directory, beside the pages"
            return Finding.of(member, "", f"its pages are at page server {where}", fix=fix)
        if not any(member.pagemap(which).parent for which in member.objects):
            break
    return None


def require_whole(layer: Layer, contents: bool = False) -> None:
    """Refuse a layer in which `check_chain` finds something, in one line that names the first thing and how many there are.

    Raises:
        ImageError: it cannot be restored.
    """
    found = check_chain(layer, contents)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        first = found[0]
        place = "" if first.layer == layer.directory else f"ancestor {first.layer.name}: "
        name = f"{first.file}: " if first.file else ""
        raise ImageError("cannot restore", f"layer {layer.path}", f"{place}{name}{first.why}{more}", first.fix)

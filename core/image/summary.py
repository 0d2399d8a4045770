"""What a list of layers shows of one layer: from its maps, its sidecar and the sizes of its files, without reading a page."""

from dataclasses import dataclass
from pathlib import Path

from lamina.core.errors import ImageError
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.pagemap import PageMap
from lamina.core.image.sidecar import shown_time


@dataclass(frozen=True)
class Summary:
    """What a list of layers shows of one.

    Attributes:
        name: its directory's name; path: the directory; layer_id: "" for a layer without sidecar.
        parent: the text of its `parent` link, or None.
        own_pages: pages in its pages files; inherited_pages: pages that it inherits.
        disk_bytes: blocks its files occupy; logical_bytes: their sizes.
        time: seconds since 1970 (UTC).
        freeze_us: how long the target stood still, 0 if not known.
        restorable: what the sidecar says; why_not: the reason, in words.
    """

    name: str
    path: Path
    layer_id: str
    label: str
    parent: str | None
    own_pages: int
    inherited_pages: int
    disk_bytes: int
    logical_bytes: int
    time: float
    freeze_us: int
    tracker: str
    restorable: bool
    why_not: str


def summary_of(layer: Layer) -> Summary:
    """The summary of *layer*. A layer that cannot be read is one that cannot be restored."""
    maps: list[PageMap] = []
    sidecar, damage = None, ""
    try:
        sidecar = layer.sidecar
        maps += [layer.pagemap(which) for which in layer.objects]
        damage = layer.memory_only
    except ImageError as error:
        damage = str(error)
    infos = [info for name in layer.names() if (info := layer.info(name)) and info.is_file]
    restorable, why_not = (sidecar.restorable, sidecar.why_not) if sidecar else (True, "")
    return Summary(
        name=layer.name, path=layer.path, layer_id=sidecar.layer_id if sidecar else "", label=sidecar.label if sidecar else "",
        parent=layer.parent_link, own_pages=sum(it.present.pages for it in maps),
        inherited_pages=sum(it.parent.pages for it in maps), disk_bytes=sum(it.disk_bytes for it in infos),
        logical_bytes=sum(it.size for it in infos),
        time=sidecar.time if sidecar else _written(layer),
        freeze_us=sidecar.freeze_us if sidecar else _recorded_freeze(layer),
        tracker=sidecar.tracker if sidecar else "unknown", restorable=restorable and not damage, why_not=damage or why_not,
    )  # fmt: skip


def taken_at(layer: Layer) -> float:
    """When *layer* was taken, seconds since 1970 (UTC); 0 if nothing says so.

    Raises:
        ImageError: its sidecar cannot be read.
    """
    sidecar = layer.sidecar
    return sidecar.time if sidecar else _written(layer)


def _written(layer: Layer) -> float:
    inventory = layer.info("inventory.img")
    return shown_time(inventory.mtime) if inventory else 0.0


def _recorded_freeze(layer: Layer) -> int:
    """What CRIU noted, in µs; 0 if it did not."""
    if not layer.has("stats-dump"):
        return 0
    try:
        return fmt.decode_one(layer.read("stats-dump"), fmt.STATS_DUMP, str(layer.file("stats-dump"))).dump.frozen_time
    except ImageError:
        return 0

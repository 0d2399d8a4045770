"""The files that lamina writes into an archive beside the layers: a list of the layers, and what checkpointctl looks for.

checkpointctl (and podman) know archives of containers: `config.dump` and `spec.dump` beside a directory `checkpoint`. The layer that was
exported is that directory; its ancestors are `layers/NAME`, where those tools do not look. The two files say only what is true of a process
tree that was in no container: which layer, when, and what ran.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lamina.core.archive.entries import NAME
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.storage.archive import Archive, ArchiveStorage, MemberContent
from lamina.core.image.summary import summary_of

MANIFEST = "lamina-export.json"
LEAF = "checkpoint"
_VERSION = 1
_MAX = 1 << 22


@dataclass(frozen=True)
class Packed:
    """A layer and where it is in an archive.

    Attributes:
        place: its directory in the archive; name: the name of its directory outside.
    """

    place: str
    name: str


def places_for(chain: Sequence[Layer]) -> list[Packed]:
    """Where each layer of *chain* goes: the first is the leaf. Layers of the same name in different stacks get a number."""
    found = [Packed(LEAF, _sound(chain[0].name))]
    taken: set[str] = set()
    for layer in chain[1:]:
        name = base = _sound(layer.name)
        number = 1
        while name in taken or name == found[0].name:
            number += 1
            name = f"{base}-{number}"
        taken.add(name)
        found.append(Packed(f"layers/{name}", name))
    return found


def _sound(name: str) -> str:
    return name if NAME.fullmatch(name) else "layer"


def files_at_the_top(layer: Layer, packed: Sequence[Packed]) -> dict[str, bytes]:
    """The files at the top of an archive of *layer*, by name."""
    summary = summary_of(layer)
    sidecar = layer.sidecar
    made = datetime.fromtimestamp(summary.time, UTC).isoformat().replace("+00:00", "Z")
    config: dict[str, Any] = {
        "id": summary.layer_id or "0" * 32,
        "name": summary.label or packed[0].name,
        "runtime": "lamina" if sidecar and sidecar.made_by == "lamina" else "criu",
        "createdTime": made,
        "checkpointedTime": made,
    }
    # An OCI runtime spec whose process is what ran; no root, no namespaces, for there was no container.
    spec: dict[str, Any] = {"ociVersion": "1.0.2"}
    if sidecar and sidecar.cmdline:
        spec["process"] = {"args": list(sidecar.cmdline), "cwd": _directory_of(layer)}
    if sidecar and sidecar.host:
        spec["hostname"] = sidecar.host
    manifest = {"lamina": "export", "version": _VERSION, "layers": [{"place": it.place, "name": it.name} for it in packed]}
    found = {MANIFEST: manifest, "config.dump": config, "spec.dump": spec}
    return {name: json.dumps(value, indent=1).encode("utf-8", "replace") + b"\n" for name, value in found.items()}


def _directory_of(layer: Layer) -> str:
    """The working directory of the root task, which the spec must have."""
    try:
        return "/" + layer.files[layer.fs(layer.pids[0]).cwd_id].reg.name.decode("utf-8", "replace").lstrip("/")
    except (ImageError, KeyError, IndexError):
        return "/"


def names_in(archive: Archive) -> dict[str, str]:
    """The names of the layers of an archive, by their directory in it, as far as its manifest says.

    Raises:
        ImageError: there is a manifest, and it is not one.
    """
    member = archive.others.get(MANIFEST)
    if member is None or member.kind != "file":
        return {}
    path = str(archive.path / MANIFEST)
    try:
        if member.size > _MAX:
            raise ValueError("it is too large")
        record = json.loads(MemberContent(archive.content, member).pread(member.size, 0))
        if record["lamina"] != "export" or record["version"] != _VERSION:
            raise ValueError(f"its version is {record['version']!r:.20}; this lamina reads {_VERSION}")
        names = {layer["place"]: layer["name"] for layer in record["layers"]}
        if not all(isinstance(name, str) and NAME.fullmatch(name) for name in names.values()) or len(set(names.values())) != len(names):
            raise ValueError("its names are not names of directories")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImageError("cannot import", path, f"it is not what lamina writes: {error}") from error
    return names


def default_name(storage: ArchiveStorage) -> str:
    """What a layer of an archive without a manifest is called: its directory, or where that says nothing, the archive."""
    base = storage.layer.rpartition("/")[2]
    if base in ("", LEAF):
        stem = storage.archive.path.name
        for suffix in (".zst", ".gz", ".xz", ".bz2", ".tgz", ".txz", ".tar"):
            stem = stem.removesuffix(suffix)
        base = stem
    return _sound(base)

"""The tree of a layer, a file of one, or a record: dictionaries, lists, numbers and text, ready for JSON."""

import re
import signal
import stat
import struct
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from lamina.core.errors import ImageError
from lamina.core.image import schema
from lamina.core.image.format import MAX_FILE, PAGEMAP, ImageKind, kind_of_file, kind_of_head, records_of
from lamina.core.image.pagemap import PageMap
from lamina.core.image.show import names
from lamina.core.image.show.forms import form_of
from lamina.core.image.show.signals import decode_siginfo, signal_name
from lamina.core.image.show.summary import summary_of_map, summary_of_raw, summary_of_records
from lamina.core.image.show.values import Bytes, Number, Row, bits
from lamina.core.image.sidecar import MAX_SIZE
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.storage.base import Storage
from lamina.core.image.storage.directory import DirectoryStorage
from lamina.core.image.storage.locate import storage_of

Tree = dict[str, Any]
BYTES_PER_ROW = 16
# A file that is called so and is none is refused for what it lacks, not shown as raw data.
_ARCHIVE = re.compile(r"\.(tar|tgz|tzst|txz)\b")
# The signals that a list of actions is about: those that can have one.
ACTED_ON = tuple(number for number in range(1, 65) if number not in (signal.SIGKILL, signal.SIGSTOP))
# Fields that CRIU declares bytes and that hold no text.
_BINARY = {"siginfo", "filter", "apparmor_data", "blob", "address", "magic", "mask", "data", "addr"}


def as_tree(path: Path, limit: int | None = None) -> Tree:
    """A file of a layer, or all files of the layer that *path* names (a directory or an archive) by name.

    At most *limit* records of a file, runs of a map, and rows of 16 bytes of a content are in it, and `left_out` says how many are not;
    None means all. A file that cannot be read is in it with its `error`; nothing is left out silently.

    Raises:
        ImageError: there is no such file, or the layer cannot be listed.
    """
    found = _storage_and_name(path)
    if isinstance(found, tuple):
        return show_file(*found, limit)
    return {name: show_file(found, name, limit) for name in found.names()}


def _mode(path: Path) -> int:
    """The type and rights of what *path* leads to; 0 if that is nothing. Unlike pathlib's tests it takes a name that is too long."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def _storage_and_name(path: Path) -> Storage | tuple[Storage, str]:
    """The layer, or the file in one, that *path* names."""
    mode = _mode(path)
    if path.is_symlink() and not mode:
        return DirectoryStorage(path.parent), path.name
    if stat.S_ISREG(mode) and _is_of_a_layer(path):
        return DirectoryStorage(path.parent), path.name
    try:
        return storage_of(path)
    except ImageError:
        if stat.S_ISDIR(mode) or _ARCHIVE.search(path.name):
            raise
        if mode:
            return DirectoryStorage(path.parent), path.name  # a file that is neither an image nor an archive, or nothing to read
        try:
            inside = storage_of(path.parent)
        except ImageError:
            inside = None
        if inside is None or inside.info(path.name) is None:
            raise ImageError("cannot show", str(path), "no such file or directory") from None
        return inside, path.name


def _is_of_a_layer(path: Path) -> bool:
    if path.name == SIDECAR or path.name.endswith(".img") or kind_of_file(path.name):
        return True
    try:
        with DirectoryStorage(path.parent).open(path.name) as content:
            return kind_of_head(content.pread(8, 0)) is not None
    except ImageError:
        return False


def show_file(storage: Storage, name: str, limit: int | None = None) -> Tree:
    """One file of a layer, as in `as_tree`."""
    shown: Tree = {"kind": "raw"}
    try:
        info = storage.info(name)
        if info is None:
            raise ImageError("cannot show", str(storage.path / name), "no such file")
        if info.is_link:
            target = storage.link(name)
            return {"kind": "link", "summary": f"to {target}", "target": target}
        shown |= {"summary": "", "bytes": info.size, "disk_bytes": info.disk_bytes}
        if not info.is_file:
            return shown | {"summary": "not a regular file"}
        if name == SIDECAR:
            text = storage.read(name, MAX_SIZE).decode("utf-8", "replace")
            return shown | {"kind": "sidecar", "summary": "what the images do not record", "text": text}
        kind = kind_of_file(name) or _kind_by_head(storage, name)
        if kind is None:
            return shown | {"summary": summary_of_raw(name, info.size, info.disk_bytes)}
        shown["kind"] = kind.name
        _show_image(shown, storage.read(name, MAX_FILE), kind, str(storage.path / name), limit)
    except ImageError as error:
        shown |= {"summary": "cannot be read", "error": str(error)}
    return shown


def _kind_by_head(storage: Storage, name: str) -> ImageKind[Any] | None:
    if name.startswith("pages-"):
        return None
    with storage.open(name) as content:
        return kind_of_head(content.pread(8, 0))


def _show_image(shown: Tree, data: bytes, kind: ImageKind[Any], name: str, limit: int | None) -> None:
    if kind is PAGEMAP:
        return _show_map(shown, PageMap.decode(data, name), limit)
    records: list[Tree] = []
    shown["records"] = records
    messages: list[Message] = []
    for message, blob, _ in records_of(data, kind, name):
        messages.append(message)
        if limit is None or len(records) < limit:
            records.append(to_tree(message) | (_content(message, blob, limit) if kind.blob else {}))
    if len(messages) > len(records):
        shown["left_out"] = len(messages) - len(records)
    shown["summary"] = summary_of_records(kind.name, messages)
    return None


def _show_map(shown: Tree, pages: PageMap, limit: int | None) -> None:
    count = len(pages) if limit is None else min(limit, len(pages))
    rows = zip(pages.vaddr[:count].tolist(), pages.pages[:count].tolist(), pages.flags[:count].tolist(), strict=True)
    shown |= {
        "summary": summary_of_map(pages),
        "records": [{"pages_id": pages.pages_id}],
        "runs": {"columns": ["vaddr", "nr_pages", "flags"], "rows": [list(row) for row in rows], "total": len(pages)},
    }
    if count < len(pages):
        shown["left_out"] = len(pages) - count


def to_tree(message: Message) -> Tree:
    """A record as a dictionary. Fields that are not set are left out; those that the schema does not know have number and value."""
    kind = message.DESCRIPTOR.name
    tree: Tree = {field.name: _value(kind, field, value) for field, value in message.ListFields()}
    if isinstance(message, schema.siginfo_entry):
        tree |= decode_siginfo(message.siginfo)
    elif isinstance(message, schema.task_rlimits_entry):
        for at, entry in enumerate(tree.get("rlimits", ())):
            tree["rlimits"][at] = {"resource": names.RLIMITS[at] if at < len(names.RLIMITS) else str(at)} | entry
    elif isinstance(message, schema.task_core_entry):
        for number, at in zip(ACTED_ON, range(len(tree.get("sigactions", ()))), strict=False):
            tree["sigactions"][at] = {"signal": signal_name(number)} | tree["sigactions"][at]
    foreign = UnknownFieldSet(message)
    if len(foreign):
        tree["unknown_fields"] = _unknown(foreign)
    return tree


def _unknown(fields: UnknownFieldSet) -> list[Tree]:
    found = []
    for at in range(len(fields)):
        data = fields[at].data
        value = Bytes(data.hex()) if isinstance(data, bytes) else data if isinstance(data, int) else _unknown(data)
        found.append({"field": fields[at].field_number, "value": value})
    return found


def _value(kind: str, field: FieldDescriptor, value: Any) -> Any:
    form = form_of(kind, field.name)
    if not field.is_repeated:
        return _scalar(field, value, form)
    if form and value and field.type not in (FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING):
        numbers = list(value)
        try:
            return Row(numbers, form(numbers))
        except TypeError:  # a form for one number
            return Row(numbers, " ".join(map(form, numbers)))
    return [_scalar(field, item, None) for item in value]


def _scalar(field: FieldDescriptor, value: Any, form: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return to_tree(value)
    if field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    if isinstance(value, bytes):  # also a string that is not UTF-8
        if field.name in _BINARY:
            return Bytes(value.hex())
        return value.decode("utf-8", "backslashreplace")
    if form and isinstance(value, int) and not isinstance(value, bool):
        return Number(value, form(value))
    return value


def _content(message: Message, blob: bytes, limit: int | None) -> Tree:
    """What follows a record, in the parts that it has."""
    if isinstance(message, schema.tcp_stream_entry):
        inq, outq = blob[: message.inq_len], blob[message.inq_len :]
        return {"inq": _cut(inq, limit), "outq": _cut(outq, limit)}
    if isinstance(message, schema.bpfmap_data_entry):
        return {"keys": _cut(blob[: message.keys_bytes], limit), "values": _cut(blob[message.keys_bytes :], limit)}
    if isinstance(message, schema.ipc_sem_entry):
        values = list(struct.unpack_from(f"<{message.nsems}H", blob))
        return {"values": values if limit is None else values[:limit]}
    if isinstance(message, schema.ipc_msg_entry):
        return {"messages": _messages(blob, message.qnum, limit)}
    if isinstance(message, schema.ipc_shm_entry):
        blob = blob[: message.size]
    return {"content": _cut(blob, limit), "content_bytes": len(blob)}


def _messages(blob: bytes, count: int, limit: int | None) -> list[Tree]:
    found: list[Tree] = []
    at = 0
    for _ in range(count if limit is None else min(count, limit)):
        (length,) = struct.unpack_from("<I", blob, at)
        message = schema.ipc_msg.FromString(blob[at + 4 : at + 4 + length])
        at += 4 + length
        found.append(to_tree(message) | {"content": _cut(blob[at : at + message.msize], limit)})
        at += -(-message.msize // 8) * 8
    return found


def _cut(blob: bytes, limit: int | None) -> Bytes:
    return Bytes((blob if limit is None else blob[: limit * BYTES_PER_ROW]).hex())


def run_text(row: list[int]) -> str:
    """One run of a map: where it is, how long, and what is known of it."""
    return f"{row[0]:#x}  {row[1]:,} page{'' if row[1] == 1 else 's'}  {bits(row[2], names.PAGE) or 'no data'}"

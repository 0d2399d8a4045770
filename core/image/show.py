"""Every field of every file of a layer, as a plain tree (`lamina show`)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from lamina.core.errors import ImageError
from lamina.core.image.format import kind_of_file, read_file, records_of
from lamina.core.image.sidecar import NAME as SIDECAR

# Addresses and bit masks, which people read in hexadecimal. In JSON all numbers stay numbers.
_HEX = {
    "ax", "blk_sigset", "bp", "build_id", "bx", "c_cflag", "c_iflag", "c_lflag", "c_oflag", "cap_amb", "cap_bnd", "cap_eff", "cap_inh",
    "cap_prm", "clear_tid_addr", "cx", "data", "di", "dx", "end", "events", "flags", "fs_base", "futex_rla", "gs_base", "hi16_zmm", "ip",
    "madv", "mask", "mm_arg_end", "mm_arg_start", "mm_brk", "mm_end_code", "mm_end_data", "mm_env_end", "mm_env_start", "mm_start_brk",
    "mm_start_code", "mm_start_data", "mm_start_stack", "mxcsr", "mxcsr_mask", "opmask_reg", "orig_ax", "personality", "pgoff", "r10",
    "r11", "r12", "r13", "r14", "r15", "r8", "r9", "rdp", "restorer", "rip", "rseq_abi_pointer", "si", "sigaction", "sigmask",
    "signature", "sival_ptr", "sp", "ss_sp", "st_space", "start", "status", "vaddr", "xmm_space", "xstate_bv", "ymmh_space", "zmm_upper",
}  # fmt: skip
Tree = dict[str, Any]


def as_tree(path: Path) -> Tree:
    """A file of a layer, or all files of the layer in the directory *path* by name.

    Raises:
        ImageError: there is no such file, or the directory cannot be listed.
    """
    if path.is_dir():
        return show_layer(path)
    if not os.path.lexists(path):
        raise ImageError("cannot show", str(path), "no such file or directory")
    return show_file(path)


def as_text(tree: Tree) -> str:
    """The tree as indented lines, for people."""
    return "\n".join(_lines(tree))


def show_layer(directory: Path) -> Tree:
    """The files of a layer by name. An unreadable one is shown with its error; nothing is left out.

    Each image has `kind` and `records`, a pages file its size and blocks, the sidecar its text. Raises `ImageError` only if the directory
    cannot be listed.
    """
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise ImageError("cannot read", f"layer {directory}", os.strerror(error.errno or 0)) from error
    return {name: show_file(directory / name) for name in names}


def show_file(path: Path) -> Tree:
    """One file of a layer; see `show_layer`."""
    try:
        info = os.lstat(path)
        if path.is_symlink():
            return {"kind": "link", "target": os.readlink(path)}
        shown: Tree = {"kind": "raw", "bytes": info.st_size, "disk_bytes": info.st_blocks * 512}
        kind = kind_of_file(path.name)
        if path.name == SIDECAR:
            return shown | {"kind": "sidecar", "text": read_file(path).decode("utf-8", "replace")}
        if kind is None:
            return shown
        shown["kind"] = kind.name
        records = shown["records"] = []
        for message, blob, _ in records_of(read_file(path), kind, str(path)):
            records.append(to_tree(message) | ({"content": blob.hex()} if kind.blob else {}))
        return shown
    except ImageError as error:
        return {**shown, "error": str(error)}
    except OSError as error:
        return {"kind": "raw", "error": os.strerror(error.errno or 0)}


def to_tree(message: Message) -> Tree:
    """A record as a dictionary of plain values; fields that are not set are left out, unknown ones are named by number."""
    tree = {field.name: _value(field, value) for field, value in message.ListFields()}
    foreign = UnknownFieldSet(message)
    unknown = sorted({foreign[at].field_number for at in range(len(foreign))})
    return tree | ({"unknown_fields": unknown} if unknown else {})


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.is_repeated:
        return [_scalar(field, item) for item in value]
    return _scalar(field, value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return to_tree(value)
    if field.type == FieldDescriptor.TYPE_ENUM and field.enum_type is not None:
        named = field.enum_type.values_by_number.get(value)
        return named.name if named else value
    if isinstance(value, bytes):  # also a string that is not UTF-8
        return value.hex() if field.name in {"siginfo", "filter", "apparmor_data"} else value.decode("utf-8", "backslashreplace")
    return value


def _lines(tree: Any, indent: int = 0, name: str = "") -> Iterator[str]:
    pad = "  " * indent
    if isinstance(tree, dict):
        if name:
            yield f"{pad}{name}:"
            indent += 1
        for key, value in tree.items():
            yield from _lines(value, indent, key)
    elif isinstance(tree, list) and any(isinstance(item, (dict, list)) for item in tree):
        for number, item in enumerate(tree):
            yield from _lines(item, indent, f"{name}[{number}]")
    elif isinstance(tree, list):
        yield f"{pad}{name}: {' '.join(_text(name, item) for item in tree)}"
    else:
        yield f"{pad}{name}: {_text(name, tree)}"


def _text(name: str, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and name in _HEX:
        return f"{value:#x}"
    text = str(value)
    return text if text.isprintable() else ascii(text)[1:-1]

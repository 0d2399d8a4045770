"""The records of an image to be damaged: where they lie, and a field of one set to something."""

import random
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from lamina.core.image import format as fmt

NUMBERS = (
    0, 1, 2, 3, 7, 255, 4095, 4096, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**47, 2**52, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**31),
)  # fmt: skip
TEXTS = ("", "x", "../..", "/etc/passwd", "\x1b[2J\n", "a" * 300, "\0", "\udcff", "💥")
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1), FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1), FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}  # fmt: skip


def frames_of(name: str, data: bytes) -> list[tuple[Message, int, int]]:
    """The records that can be read: each with where its length stands and where the next one begins."""
    kind = fmt.kind_of_file(name)
    found: list[tuple[Message, int]] = []
    end = len(data)
    if kind is not None:
        try:
            for message, _, at in fmt.records_of(data, kind, name):
                found.append((message, at))
        except Exception:  # it was damaged before: what came first is enough
            end = found[-1][1] if found else 0
            found = found[:-1]
    ends = [*(at for _, at in found[1:]), end][: len(found)]
    return [(message, at, stop) for (message, at), stop in zip(found, ends, strict=True)]


def set_something(message: Message, rng: random.Random) -> str:
    """One field of *message* or of a message in it."""
    present = message.ListFields()
    nested = [(field, value) for field, value in present if field.type == FieldDescriptor.TYPE_MESSAGE]
    if nested and rng.random() < 0.7:
        field, value = rng.choice(nested)
        if not field.is_repeated:
            return f"{field.name}.{set_something(value, rng)}"
        if len(value):
            return f"{field.name}[].{set_something(rng.choice(list(value)), rng)}"
    chosen = rng.choice([it for it, _ in present] if present and rng.random() < 0.8 else list(message.DESCRIPTOR.fields))
    return _set(message, cast(FieldDescriptor, chosen), rng)


def _set(message: Message, field: FieldDescriptor, rng: random.Random) -> str:
    if rng.random() < 0.15:
        message.ClearField(field.name)
        return f"{field.name} gone"
    try:
        value = _something(field, rng)
        if field.is_repeated:
            if field.type != FieldDescriptor.TYPE_MESSAGE:
                getattr(message, field.name).extend([value] * rng.choice((1, 1, 5, 1000)))
        elif field.type != FieldDescriptor.TYPE_MESSAGE:
            setattr(message, field.name, value)
        return f"{field.name} = {value!r:.30}"
    except (ValueError, TypeError, UnicodeError, DecodeError):
        return f"{field.name} kept"


def _something(field: FieldDescriptor, rng: random.Random) -> Any:
    if field.enum_type is not None:
        return rng.choice(field.enum_type.values).number
    if field.type == FieldDescriptor.TYPE_BOOL:
        return rng.random() < 0.5
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice(TEXTS).encode("utf-8", "surrogateescape")
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(TEXTS).encode("utf-8", "replace").decode()
    low, high = _RANGES.get(field.cpp_type, (0, 2**32 - 1))
    return min(max(rng.choice((*NUMBERS, rng.randrange(2**48) & ~4095, rng.randrange(2**20))), low), high)

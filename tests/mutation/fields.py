"""Other values for the fields of a record, by its descriptor: where a field is, and what it can be set to."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_SPANS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1), FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1), FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}  # fmt: skip
_EDGES = (
    0, 1, 2, 3, 64, 65, 4095, 4096, 65536, 2**20, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**40, 2**47 - 4096, 2**47, 2**62,
    2**63 - 1, 2**63, 2**64 - 4096, 2**64 - 1, -1, -(2**31), -(2**63),
)  # fmt: skip
_BITS = (0, 1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 16, 17, 20, 27, 30, 31, 33, 40, 46, 47, 62, 63)
_MANY = 2000
Step = tuple[str, int]
"""A field and the index in it; -1 for one that is not repeated."""


@dataclass(frozen=True)
class Change:
    """One other value.

    Attributes:
        field: which, without indices, as in "mm_entry.vmas.prot".
        value: what it becomes, in words.
        make: changes a copy of the record in place.
    """

    field: str
    value: str
    make: Callable[[Message], None]


def changes(message: Message, per_shape: int = 1, most: int = 8) -> Iterator[Change]:
    """Every field of *message* and of the messages in it, each with all its other values.

    Of a list of messages, *per_shape* of each shape are taken, by the fields that they have and by their small values, and *most* in all.
    """
    yield from _in(message, message.DESCRIPTOR.name, (), per_shape, most)


def shape_of(message: Message) -> tuple[object, ...]:
    """What tells kinds of records apart: which fields there are, and enumerated and small values."""
    found: list[object] = []
    for field, value in message.ListFields():
        plain = not field.is_repeated and field.type != FieldDescriptor.TYPE_MESSAGE
        coded = field.enum_type is not None or field.name in ("status", "prot", "type")
        found.append((field.name, value if plain and coded else None))
    return tuple(found)


def chosen(items: list[Message], per_shape: int, most: int) -> list[int]:
    """Indices of the items that stand for all."""
    seen: dict[tuple[object, ...], int] = {}
    found: list[int] = []
    for at, item in enumerate(items):
        shape = shape_of(item)
        seen[shape] = seen.get(shape, 0) + 1
        if seen[shape] <= per_shape and len(found) < most:
            found.append(at)
    return found


def _in(message: Message, name: str, path: tuple[Step, ...], per_shape: int, most: int) -> Iterator[Change]:
    for field in message.DESCRIPTOR.fields:
        field = cast(FieldDescriptor, field)
        at = f"{name}.{field.name}"
        if field.is_repeated:
            yield from _repeated(message, field, at, path, per_shape, most)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            if message.HasField(field.name):
                yield _change(at, "missing", path, _clear(field.name))
                yield from _in(getattr(message, field.name), at, (*path, (field.name, -1)), per_shape, most)
            else:
                yield _change(at, "empty", path, _touch(field.name))
        else:
            yield from _plain(message, field, at, path)


def _clear(name: str) -> Callable[[Message], None]:
    return lambda record: record.ClearField(name)


def _touch(name: str) -> Callable[[Message], None]:
    return lambda record: cast(None, getattr(record, name).SetInParent())


def _set(name: str, value: Any) -> Callable[[Message], None]:
    return lambda record: setattr(record, name, value)


def _change(at: str, value: str, path: tuple[Step, ...], act: Callable[[Message], None]) -> Change:
    def make(record: Message) -> None:
        act(_reach(record, path))

    return Change(at, value, make)


def _reach(message: Message, path: tuple[Step, ...]) -> Message:
    for name, index in path:
        value = getattr(message, name)
        message = value if index < 0 else value[index]
    return message


def _plain(message: Message, field: FieldDescriptor, at: str, path: tuple[Step, ...]) -> Iterator[Change]:
    now = getattr(message, field.name)
    if message.HasField(field.name):
        yield _change(at, "missing", path, _clear(field.name))
    for value in values(field, now):
        if value != now or not message.HasField(field.name):
            yield _change(at, _said(value), path, _set(field.name, value))


def _repeated(message: Message, field: FieldDescriptor, at: str, path: tuple[Step, ...], per_shape: int, most: int) -> Iterator[Change]:
    now = list(getattr(message, field.name))

    def become(items: list[Any]) -> Callable[[Message], None]:
        def act(it: Message) -> None:
            it.ClearField(field.name)
            getattr(it, field.name).extend(items)

        return act

    if now:
        yield _change(f"{at}[]", "empty", path, become([]))
        yield _change(f"{at}[]", "the first gone", path, become(now[1:]))
        yield _change(f"{at}[]", "the last gone", path, become(now[:-1]))
        yield _change(f"{at}[]", "the first twice", path, become([now[0], *now]))
        yield _change(f"{at}[]", "the last twice", path, become([*now, now[-1]]))
        yield _change(f"{at}[]", "all twice", path, become([*now, *now]))
        yield _change(f"{at}[]", "reversed", path, become(now[::-1]))
        yield _change(f"{at}[]", f"{_MANY} of them", path, become([*now, *[now[-1]] * _MANY]))
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        for index in chosen(now, per_shape, most):
            yield from _in(now[index], at, (*path, (field.name, index)), per_shape, most)
        return
    for index in sorted({0, len(now) // 2, len(now) - 1}) if now else ():
        for value in values(field, now[index]):
            if value != now[index]:
                yield _change(at, _said(value), path, become([*now[:index], value, *now[index + 1 :]]))
    if not now:
        for value in values(field, 0 if field.cpp_type in _SPANS else b"")[:6]:
            yield _change(at, f"one: {_said(value)}", path, become([value]))


def values(field: FieldDescriptor, now: Any) -> list[Any]:
    """What else a field may hold, *now* among it perhaps."""
    if field.enum_type is not None:
        return [it.number for it in field.enum_type.values]
    if field.type == FieldDescriptor.TYPE_BOOL:
        return [False, True]
    if field.type in (FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING):
        return _texts(field.type == FieldDescriptor.TYPE_STRING, now)
    low, high = _SPANS[field.cpp_type]
    found = [*_EDGES, *(now ^ 1 << bit for bit in _BITS), now + 1, now - 1, now * 2, now + 4096, now - 4096, now // 2, -now]
    return list(dict.fromkeys(it for it in found if low <= it <= high))


def _texts(is_text: bool, now: Any) -> list[Any]:
    if is_text:
        return ["", "x", "/", "..", "a" * 5000, "\0", "\x1b[2J\n", "💥", now * 2 if now else "y"]
    raw = bytes(now or b"")
    found = [
        b"",
        b"x",
        b"/",
        b"../..",
        b"/dev/zero",
        b"/proc/self/mem",
        b"a" * 5000,
        b"\0",
        b"\x1b[2J\n",
        b"\xff\xfe",
        raw[:-1],
        raw * 2,
        raw + b"\0",
    ]
    if len(raw) >= 16:  # a structure
        for at in (0, 4, 8, 12, 16):
            for word in (0, 1, 9, 19, 33, 64, 65, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 6):
                found.append(raw[:at] + word.to_bytes(4, "little") + raw[at + 4 :])
    return list(dict.fromkeys(it for it in found if len(it) < 10_000))


def _said(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 4096:
        return f"{value:#x}"
    return f"{value!r:.24}"

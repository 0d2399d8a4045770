"""A tar, written: POSIX pax with GNU's sparse files 1.0, which GNU tar, bsdtar, Go and Python read, holes and times included."""

from collections.abc import Callable

BLOCK = 512
_END = bytes(2 * BLOCK)
_MAX_USTAR = 0o77777777777


class TarWriter:
    """Members one after the other; the caller hands over what each file holds."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """*write* takes the bytes of the tar."""
        self._write = write
        self._left = 0
        self._pad = 0

    def directory(self, name: str, mtime: float) -> None:
        """A directory, to be written before what is in it."""
        self._member(f"{name}/", b"5", 0, 0o700, mtime)

    def link(self, name: str, target: str, mtime: float) -> None:
        """A symbolic link."""
        self._member(name, b"2", 0, 0o777, mtime, target=target)

    def file(self, name: str, size: int, mode: int, mtime: float, pieces: list[tuple[int, int]] | None = None) -> None:
        """The head of a file of *size* bytes. *pieces*, ascending (offset, bytes), are what is no hole; None means that nothing is.

        As many bytes as they have together are to follow by `data`.
        """
        if pieces is None or not size or pieces == [(0, size)]:
            self._member(name, b"0", size, mode, mtime)
            self._left = size
        else:
            # An empty piece ends a file that ends in a hole: GNU tar makes it as long as its last piece reaches.
            last = [] if pieces and sum(pieces[-1]) == size else [(size, 0)]
            numbers = [len(pieces) + len(last), *(number for piece in (*pieces, *last) for number in piece)]
            table = "".join(f"{number}\n" for number in numbers).encode("ascii")
            table += bytes(-len(table) % BLOCK)
            stored = sum(length for _, length in pieces)
            extra = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)}
            folder, _, base = name.rpartition("/")
            self._member(f"{folder}/GNUSparseFile.0/{base}", b"0", len(table) + stored, mode, mtime, extra)
            self._write(table)
            self._left = stored
        self._pad = -self._left % BLOCK
        self.data(b"")

    def data(self, data: bytes) -> None:
        """More of what the file holds."""
        if len(data) > self._left:
            raise ValueError("more than the file was to hold")
        self._left -= len(data)
        if data:
            self._write(data)
        if not self._left and self._pad:
            self._write(bytes(self._pad))
            self._pad = 0

    def put(self, name: str, content: bytes, mtime: float) -> None:
        """A small file, whole."""
        self.file(name, len(content), 0o600, mtime)
        self.data(content)

    def end(self) -> None:
        """The end of the archive."""
        self._write(_END)

    def _member(
        self, name: str, kind: bytes, size: int, mode: int, mtime: float, extra: dict[str, str] | None = None, target: str = ""
    ) -> None:
        if self._left:
            raise ValueError("less than the file was to hold")
        pax = dict(extra or {})
        if mtime != int(mtime) or not 0 <= mtime <= _MAX_USTAR:
            pax["mtime"] = f"{mtime:.6f}"
        for key, text in (("path", name), ("linkpath", target)):
            if len(text.encode()) > 100 or not text.isascii():
                pax[key] = text
        if size > _MAX_USTAR:
            pax["size"] = str(size)
        if pax:
            records = b"".join(_record(key, value) for key, value in pax.items())
            self._write(_header("PaxHeader", b"x", len(records), 0o600, 0, "") + records + bytes(-len(records) % BLOCK))
        self._write(_header(name, kind, size, mode, mtime, target))


def _record(key: str, value: str) -> bytes:
    """A pax record: its own length in front, which counts its own digits."""
    body = f" {key}={value}\n".encode()
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode("ascii") + body


def _header(name: str, kind: bytes, size: int, mode: int, mtime: float, target: str) -> bytes:
    def octal(value: int, width: int) -> bytes:
        return f"{value & ((1 << 3 * (width - 1)) - 1):0{width - 1}o}\0".encode("ascii")

    def text(value: str, width: int) -> bytes:
        return value.encode("ascii", "replace")[:width].ljust(width, b"\0")

    # Owner 0 on purpose: who unpacks it owns it, and a number of this machine means nothing on another.
    fields = (
        text(name, 100), octal(mode, 8), octal(0, 8), octal(0, 8), octal(size, 12), octal(max(0, int(mtime)), 12), b" " * 8, kind,
        text(target, 100), b"ustar\0", b"00", text("root", 32), text("root", 32), octal(0, 8), octal(0, 8), bytes(155), bytes(12),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + f"{sum(block):06o}\0 ".encode("ascii") + block[156:]

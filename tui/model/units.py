"""Numbers for people: rounded, with their unit. Exact ones are in the detail pane and in `--json`."""

import time

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def size(count: float) -> str:
    """Bytes as "512 B", "3.2 MiB", "213 MiB"."""
    value, unit = float(count), 0
    while value >= 1023.5 and unit < len(_BINARY) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 99.95 else 1
    return f"{value:.{digits}f} {_BINARY[unit]}"


def pages(count: int) -> str:
    """Pages with thousands separated, "54,514"."""
    return f"{count:,}"


def count(number: float) -> str:
    """A count shortened to three digits: "812", "1.9 k", "12 k", "3.4 M"."""
    for limit, divisor, suffix in ((1e9, 1e9, " G"), (1e6, 1e6, " M"), (1e3, 1e3, " k")):
        if number >= limit * 0.9995:
            scaled = number / divisor
            return f"{scaled:.{0 if scaled >= 9.95 else 1}f}{suffix}"
    return f"{number:.0f}"


def counted(number: int, one: str, many: str) -> str:
    """A number and its noun, "1 page" or "54,514 pages"."""
    return f"{number:,} {one if number == 1 else many}"


def duration(microseconds: float) -> str:
    """A time span as "412 µs", "3.8 ms", "0.19 s", "41 s", "5 min", "2 h 5 min", "3 d"."""
    us = float(microseconds)
    if us < 1_000:
        return f"{us:.0f} µs"
    if us < 100_000:
        return f"{us / 1e3:.1f} ms"
    if us < 10e6:
        return f"{us / 1e6:.2f} s"
    seconds = round(us / 1e6)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    if seconds < 172_800:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 86_400} d"


def age(seconds: float) -> str:
    """How long ago, in whole units: "3 s", "41 s", "5 min"."""
    return duration(round(max(0.0, seconds)) * 1e6) if seconds >= 9.5 else f"{max(0.0, seconds):.0f} s"


def rate(byte_count: float, microseconds: float) -> str:
    """Bytes per second as "412 MiB/s"; "" before there is anything to divide by."""
    return f"{size(byte_count * 1e6 / microseconds)}/s" if microseconds > 0 and byte_count else ""


def clock(moment: float, now: float | None = None) -> str:
    """Seconds since the epoch as "14:07:52" today, "Nov 12 14:07" this year, "2025-11-12" before."""
    then, today = time.localtime(moment), time.localtime(time.time() if now is None else now)
    if then[:3] == today[:3]:
        return time.strftime("%H:%M:%S", then)
    return time.strftime("%b %d %H:%M" if then.tm_year == today.tm_year else "%Y-%m-%d", then)


def share(part: float, whole: float) -> str:
    """A share as "15 %"; "" of nothing."""
    return f"{100 * part / whole:.0f} %" if whole else ""


def address_of(line: str) -> int | None:
    """An address as people type it: hexadecimal with or without 0x, blanks and underscores ignored; None if it is not an address."""
    try:
        value = int(line.replace(" ", "").replace("_", "").removeprefix("0x"), 16)
    except ValueError:
        return None
    return value if 0 <= value < 1 << 64 else None

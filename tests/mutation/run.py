"""One set, changed field by field: python -m tests.mutation.run SET [--part N/M] [--every K] ...

Runs in a pid namespace of its own, so that the pids of the set are nobody else's: the program starts itself again in one. Prints one JSON
object on its last line. Each changed set is verified and, if that finds nothing, restored, up to the moment before its program would run.
"""

import argparse
import json
import os
import pty
import random
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import FrameType
from typing import Any

from google.protobuf.message import EncodeError, Message

from lamina.core.attach.tracer import tracer
from lamina.core.errors import LaminaError
from lamina.core.events import CancelToken
from lamina.core.image import format as fmt
from lamina.core.image.layer import Layer
from lamina.core.image.sidecar import NAME as SIDECAR
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.sums import sum_bytes
from lamina.core.image.trust import held_layer
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.opening import OpenOptions, open_descriptions
from lamina.core.restore.plan import make_plan
from lamina.core.restore.reading import reading
from lamina.core.restore.rebuild import Wishes, rebuild
from lamina.core.verify import check_chain
from tests.live.harness import be_subreaper, reaping
from tests.mutation.fields import Change, changes, shape_of
from tests.mutation.sets import SETS, MadeSet

PATIENCE_S = 30
MEMORY_KIB = 512 << 10
LINE = 2000
VERIFY, RESTORE, RESTORED = "refused by verify", "refused by restore only", "restored"
BAD = ("failed after the fork", "traceback", "no end", "memory", "long line")


class _ReadyError(LaminaError):
    """All is in place."""


class _NoEndError(BaseException):
    """It takes too long."""


def _too_long(_number: int, _frame: FrameType | None) -> None:
    raise _NoEndError


@dataclass(frozen=True)
class Case:
    """One changed file."""

    file: str
    field: str
    value: str
    data: bytes


@dataclass
class Table:
    """What came of it.

    Attributes:
        counts: (field, outcome) → how many.
        reasons: why restore refused what verify passed, with an example.
        failures: what must not be.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def cases(directory: Path, per_shape: int, most: int) -> Iterator[Case]:
    """Every change of every image, one at a time. Of records of one shape, *per_shape* in all files together: threads are much alike."""
    seen: dict[object, int] = {}
    for path in sorted(directory.iterdir()):
        kind = fmt.kind_of_file(path.name)
        if kind is None or path.name.startswith("stats-"):
            continue
        data = path.read_bytes()
        records = [(message, blob) for message, blob, _ in fmt.records_of(data, kind, path.name)]
        head = data[: fmt.head_size(data, kind, path.name)]
        yield from _lists(path.name, head, records)
        for at, (message, _) in enumerate(records):
            shape = (type(message).__name__, shape_of(message))
            seen[shape] = seen.get(shape, 0) + 1
            if seen[shape] > per_shape:
                continue
            for change in changes(message, per_shape, most):
                changed = type(message).FromString(message.SerializePartialToString())
                try:
                    change.make(changed)
                    encoded = _encode(head, [*records[:at], (changed, records[at][1]), *records[at + 1 :]])
                except (ValueError, TypeError, EncodeError, UnicodeError):
                    continue
                yield Case(path.name, change.field, change.value, encoded)


def pairs(directory: Path, count: int, seed: str) -> Iterator[Case]:
    """Two changes of one record at a time, by chance: what single fields say may be right, and together be nothing."""
    rng = random.Random(seed)
    found: list[tuple[Path, bytes, list[tuple[Message, bytes]], int, list[Change]]] = []
    for path in sorted(directory.iterdir()):
        kind = fmt.kind_of_file(path.name)
        if kind is None or path.name.startswith("stats-"):
            continue
        data = path.read_bytes()
        records = [(message, blob) for message, blob, _ in fmt.records_of(data, kind, path.name)]
        head = data[: fmt.head_size(data, kind, path.name)]
        found += [(path, head, records, at, list(changes(message, 2, 30))) for at, (message, _) in enumerate(records)]
    weights = [len(choice) ** 0.5 for *_, choice in found]
    while count:
        ((path, head, records, at, choice),) = rng.choices(found, weights)
        one, other = rng.choice(choice), rng.choice(choice)
        changed = type(records[at][0]).FromString(records[at][0].SerializePartialToString())
        try:
            one.make(changed)
            other.make(changed)
            encoded = _encode(head, [*records[:at], (changed, records[at][1]), *records[at + 1 :]])
        except (ValueError, TypeError, EncodeError, UnicodeError, IndexError):
            continue
        count -= 1
        yield Case(path.name, f"pairs in {type(changed).__name__}", f"{one.field} = {one.value}, {other.field} = {other.value}", encoded)


def sidecar_cases(text: bytes) -> Iterator[Case]:
    """Every value in the sidecar, also of the settings that CRIU's images have no field for, set to others."""
    whole = json.loads(text)
    places = [place for place in _places(whole, ()) if place[0] not in ("checksums", "checksum")]
    for place in places:
        for value in ("missing", *_JSON):
            record = json.loads(text)
            holder = record
            for key in place[:-1]:
                holder = holder[key]
            now = holder[place[-1]]
            other = _near(value, now)
            if value == "missing":
                del holder[place[-1]]
            elif other == now and type(other) is type(now):
                continue
            else:
                holder[place[-1]] = other
            name = ".".join("[]" if isinstance(key, int) or key.isdigit() else key for key in place)
            yield Case(SIDECAR, f"lamina.json {name}", f"{value if value == 'missing' else other!r:.40}", json.dumps(record).encode())


_JSON: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2, 3, 7, 64, 4096, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 1e308, "", "x", "0", "99999",
    "0-4095", "../..", "/", "a" * 5000, "\0", "bind:0", "bind:63", "interleave=static:0", "prefer:1", [], {}, [1, 2], {"a": []},
    "more", "less", "twice",
)  # fmt: skip


def _near(value: Any, now: Any) -> Any:
    """*value*, or for words one beside what there is *now*."""
    if value == "more":
        return now + 1 if isinstance(now, int) else f"{now}x"
    if value == "less":
        return now - 1 if isinstance(now, int) else f"{now}"[:-1]
    if value == "twice":
        return now * 2 if isinstance(now, (int, str, list)) and len(repr(now)) < 1000 else now
    return value


def _places(value: Any, at: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value[:4]) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from _places(inner, (*at, key))


def _lists(name: str, head: bytes, records: list[tuple[Message, bytes]]) -> Iterator[Case]:
    """The records themselves: gone, twice, in another order, very many."""
    what = f"{fmt.kind_of_file(name).name} records"  # type: ignore[union-attr]
    yield Case(name, what, "none", head)
    for at in sorted({0, len(records) // 2, len(records) - 1}):
        yield Case(name, what, f"{at} gone", _encode(head, records[:at] + records[at + 1 :]))
        yield Case(name, what, f"{at} twice", _encode(head, records[: at + 1] + records[at:]))
    yield Case(name, what, "reversed", _encode(head, records[::-1]))
    yield Case(name, what, "2000 more", _encode(head, records + records[-1:] * 2000))


def _encode(head: bytes, records: list[tuple[Message, bytes]]) -> bytes:
    parts = [head]
    for message, blob in records:
        payload = message.SerializePartialToString()
        parts += (struct.pack("<I", len(payload)), payload, blob)
    return b"".join(parts)


class Bench:
    """A set that is changed in place, and made whole again."""

    def __init__(self, made: MadeSet) -> None:
        self.made = made
        self.directory = made.changed
        sidecar = Sidecar.load(self.directory)
        assert sidecar is not None
        self._sidecar = sidecar
        self.sidecar_text = (self.directory / SIDECAR).read_bytes()
        self._whole = {
            path.name: path.read_bytes() for path in self.directory.iterdir() if path.is_file() and path.stat().st_size < 1 << 24
        }
        self.table = Table()

    def change(self, case: Case, with_sidecar: bool) -> None:
        """Into the directory; the sidecar has the sum of the changed file, or is gone."""
        (self.directory / case.file).write_bytes(case.data)
        if case.file == SIDECAR:
            return
        if with_sidecar:
            sums = {**self._sidecar.checksums, case.file: sum_bytes(case.data)}
            (self.directory / SIDECAR).write_text(replace(self._sidecar, checksums=sums).to_json())
        else:
            (self.directory / SIDECAR).unlink(missing_ok=True)

    def undo(self, case: Case) -> None:
        """As it was."""
        (self.directory / case.file).write_bytes(self._whole[case.file])
        (self.directory / SIDECAR).write_bytes(self.sidecar_text)

    def outcome(self) -> tuple[str, str]:
        """What comes of the set as it lies there: one of the outcomes, and why."""
        with held_layer(self.made.layer, trust=False) as layer:
            return self._outcome(layer)

    def _outcome(self, layer: Layer) -> tuple[str, str]:
        found = check_chain(layer, ours=True)
        if found:
            longest = max((len(str(it)) for it in found), default=0)
            if longest > LINE or len(found) > 200:
                return "long line", f"{len(found)} findings, a line of {longest} characters: {str(found[0])[:200]}"
            return VERIFY, found[0].why
        try:
            with reading(layer):
                plan = make_plan(layer, self.made.shell_job)
                descriptions = open_descriptions(plan.layer, DESCRIPTORS, OpenOptions(shell_job=self.made.shell_job))
        except LaminaError as error:
            line = str(error)
            if len(line) > LINE:
                return "long line", f"{len(line)} characters: {line[:200]}"
            return RESTORE, line.partition(": ")[2]
        wishes = Wishes(orphan=False, arm=False, terminal=False, filled=lambda _: None, ready=_stop, cancel=CancelToken())
        with descriptions:
            try:
                tracer().call(rebuild, plan, descriptions, wishes)
            except _ReadyError:
                return RESTORED, ""
            except LaminaError as error:
                return "failed after the fork", str(error)
            finally:
                _reap_all()
        raise AssertionError("it runs")

    def judge(self, case: Case, with_sidecar: bool) -> None:
        """One change, its outcome in the table."""
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.change(case, with_sidecar)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        try:
            outcome, why = self.outcome()
        except LaminaError as error:  # the layer cannot even be opened
            outcome, why = VERIFY, str(error)
        except _NoEndError as error:
            outcome, why = "no end", "".join(traceback.format_tb(error.__traceback__)[-3:])
        except Exception as error:
            outcome, why = "traceback", "".join(traceback.format_exception(error)[-4:])
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self.undo(case)
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before > MEMORY_KIB:
            outcome, why = "memory", f"{outcome}: {why}"
        self.table.counts[case.field, outcome] += 1
        if outcome in BAD:
            mode = "with sums" if with_sidecar else "without a sidecar"
            self.table.failures.append(f"{outcome}: {case.file}: {case.field} = {case.value} ({mode}): {why}")
        elif outcome == RESTORE:
            self.table.reasons.setdefault(_kind_of(why), f"{case.field} = {case.value}: {why}"[:300])


def _kind_of(why: str) -> str:
    """A reason without its numbers and names."""
    return re.sub(r"/\S*|0x[0-9a-f]+|\b[0-9a-f]*\d[0-9a-f]*\b|'[^']*'", "#", why)[:90]


def _reap_all() -> None:
    """We are init here, or were made to stand in for it: what the tree left behind when it was ended is ours to collect."""
    with suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _stop() -> None:
    raise _ReadyError("ready")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """In the namespace."""
    signal.signal(signal.SIGALRM, _too_long)
    part, parts = (int(word) for word in options.part.split("/"))
    began = time.monotonic()
    work = Path(tempfile.mkdtemp(prefix="lamina-mutation-"))
    try:
        with reaping() as reaper:
            made = SETS[options.set](reaper, work)
        be_subreaper(True)
        bench = Bench(made)
        for whole in (True, False):
            if not whole:
                (made.changed / SIDECAR).unlink()
            outcome, why = bench.outcome()
            assert outcome == RESTORED, f"the set itself, {'with' if whole else 'without'} its sidecar: {outcome}: {why}"
            (made.changed / SIDECAR).write_bytes(bench.sidecar_text)
        count = told = 0
        every = chain(sidecar_cases(bench.sidecar_text), cases(made.changed, options.per_shape, options.most))
        if options.pairs:
            every = chain(pairs(made.changed, options.pairs, f"{options.set}:{options.seed}"))
        for number, case in enumerate(every):
            if number % parts != part or (number // parts) % options.every:
                continue
            if options.only and options.only not in f"{case.file}: {case.field} = {case.value}":
                continue
            count += 1
            bench.judge(case, with_sidecar=number % 5 == 0)
            if options.verbose:
                for line in bench.table.failures[told:]:
                    print(line, file=sys.stderr, flush=True)
                told = len(bench.table.failures)
            if len(bench.table.failures) >= options.failures:
                break
        outcome, why = bench.outcome()
        assert outcome == RESTORED, f"the set is not whole again: {outcome}: {why}"
    finally:
        shutil.rmtree(work)
    return {
        "set": options.set, "cases": count, "seconds": round(time.monotonic() - began, 1), "failures": bench.table.failures,
        "counts": [[*key, number] for key, number in sorted(bench.table.counts.items())], "reasons": bench.table.reasons,
    }  # fmt: skip


def again_inside() -> int:
    """Start this program again with pids of its own, where that is allowed, and with a terminal of its own for the sets that need one."""
    leader, follower = pty.openpty()
    namespaces = ["unshare", "--pid", "--mount-proc", "--fork", "--kill-child"]
    if subprocess.run([*namespaces, "true"], capture_output=True, check=False).returncode:
        namespaces = []
    words = [*namespaces, sys.executable, "-m", "tests.mutation.run", *sys.argv[1:], "--inside"]
    state = tempfile.mkdtemp(prefix="lamina-mutation-state-")
    environment = {**os.environ, "LAMINA_STATE_DIR": state}
    try:
        return subprocess.run(words, stdin=follower, check=False, start_new_session=True, env=environment).returncode
    finally:
        shutil.rmtree(state)
        os.close(leader)
        os.close(follower)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("set", choices=SETS)
    parser.add_argument("--part", default="0/1", help="N/M: the Nth of M equal parts")
    parser.add_argument("--every", type=int, default=1, help="only each Kth case")
    parser.add_argument("--per-shape", type=int, default=1)
    parser.add_argument("--most", type=int, default=10, help="items of a list that are changed")
    parser.add_argument("--pairs", type=int, default=0, help="instead, so many times two changes of one record")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs")
    parser.add_argument("--only", default="", help="cases whose description has these words")
    parser.add_argument("--failures", type=int, default=10_000, help="give up after so many")
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        return again_inside()
    json.dump(run(options), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What a sidecar says beyond CRIU's format: read back as written, and nothing it cannot mean is taken."""

import json
from typing import Any

import pytest

from lamina.core.errors import ImageError
from lamina.core.image.schema import fd_types, file_entry, inet_sk_entry
from lamina.core.image.sidecar import Sidecar
from lamina.core.image.supplement import AreaNote, Supplement, problems
from lamina.core.kinds.table import DESCRIPTORS
from lamina.core.objects.file_records import kept_damage

FULL = Supplement(
    threads={7: {"cpus": "0-3,8", "ioprio": 24576, "mempolicy": "bind=static:0", "cgroups": "cpu:/a:b\n:/c"}},
    tasks={7: {"coredump_filter": 0x33, "session_keyring": "_ses;user", "session_keyring_serial": 5, "autogroup_nice": -3}},
    areas={7: (AreaNote(4096, 8192, {"name": "x"}), AreaNote(8192, 16384, {"mlock_onfault": 1, "mempolicy": "local"}))},
    files={3: {"TCP_CONGESTION": "72656e6f", "TCP_SYNCNT": 3}},
)


def read(record: Any) -> Supplement:
    text = json.dumps({"version": 1, "layer_id": "x", "supplement": record})
    return Sidecar.from_json(text).supplement


def test_it_is_read_back_as_written() -> None:
    sidecar = Sidecar(layer_id="x", supplement=FULL)
    assert Sidecar.from_json(sidecar.to_json()).supplement == FULL
    assert read({}) == Supplement() == Sidecar.from_json('{"version": 1, "layer_id": "x"}').supplement


@pytest.mark.parametrize(
    "record",
    [
        [], 5, "x", {"threads": []}, {"threads": {"x": {}}}, {"threads": {"-1": {}}}, {"threads": {"99999999999": {}}},
        {"threads": {"7": 5}}, {"threads": {"7": {"cpus": 5}}}, {"threads": {"7": {"cpus": "0-"}}}, {"threads": {"7": {"ioprio": "5"}}},
        {"threads": {"7": {"ioprio": 1 << 16}}}, {"threads": {"7": {"ioprio": True}}}, {"threads": {"7": {"ioprio": -1}}},
        {"threads": {"7": {"cgroups": "cpu:/a/../../b"}}}, {"threads": {"7": {"cgroups": "cpu:a"}}}, {"threads": {"7": {"mempolicy": "x"}}},
        {"tasks": {"7": {"mlock_future": 1}}}, {"tasks": {"7": {"session_keyring": ""}}}, {"files": {"7": {"TCP_SYNCNT": [1]}}},
        {"files": {"7": {"TCP_CONGESTION": "z" * 5000}}}, {"areas": {"7": [[1, 4096, {}]]}}, {"areas": {"7": [[4096, 4096, {}]]}},
        {"areas": {"7": [[8192, 12288, {}], [4096, 8192, {}]]}}, {"areas": {"7": [[4096, 1 << 60, {}]]}}, {"areas": {"7": [[4096]]}},
        {"areas": {"7": [["4096", 8192, {}]]}}, {"areas": {"7": [[4096, 8192, {"name": "a\nb"}]]}}, {"areas": {"7": {}, "8": 5}},
    ],
)  # fmt: skip
def test_what_it_cannot_mean_is_a_damaged_sidecar(record: Any) -> None:
    with pytest.raises(ImageError, match="sidecar"):
        read(record)


def test_what_the_layer_does_not_have_is_a_problem() -> None:
    areas = {7: [(4096, 16384)]}
    assert list(problems(FULL, [7], areas)) == []
    assert len(list(problems(FULL, [8], areas))) == 1
    assert len(list(problems(FULL, [7], {7: [(4096, 8192)]}))) == 1


def test_what_a_file_cannot_have_is_a_problem() -> None:
    def told(**values: Any) -> str:
        return "; ".join(kept_damage({5: values}, {5: listener}, DESCRIPTORS))

    listener = file_entry(type=fd_types.INETSK, id=5, isk=inet_sk_entry())
    assert not told(TCP_SYNCNT=3, TCP_CONGESTION="72656e6f")
    assert "which it cannot be" in told(TCP_SYNCNT=1 << 32) and "which it cannot be" in told(TCP_CONGESTION="zz")
    assert "which it cannot be" in told(TCP_SYNCNT=True) and "does not know" in told(hung_up=1)
    assert "file 6, which the layer does not have" in "; ".join(kept_damage({6: {}}, {5: listener}, DESCRIPTORS))


def test_what_a_newer_lamina_keeps_is_kept_and_said() -> None:
    newer = read({"threads": {"7": {"colour": 5, "ioprio": 3}}, "dreams": [1]})
    assert newer.unknown == ["colour", "dreams"]
    assert Sidecar.from_json(Sidecar(layer_id="x", supplement=newer).to_json()).supplement == newer
    assert any("does not know" in why for why in problems(newer, [7], {}))

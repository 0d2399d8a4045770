"""XSAVE bytes ↔ messages: no bit is lost, another machine's layout is honoured, what cannot be held is refused by name."""

import struct
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lamina.core.errors import ImageError, TargetError
from lamina.core.image.schema import user_x86_fpregs_entry
from lamina.core.kinds.thread import xstate
from lamina.core.kinds.thread.xstate import XstateLayout, host_layout

# Offsets of an Intel server (protection keys at 2688) and of an AMD one (at 2432): CPUID leaf 0xD.
INTEL = XstateLayout(
    0x602E7, 11008,
    MappingProxyType({2: (576, 256), 5: (1088, 64), 6: (1152, 512), 7: (1664, 1024), 9: (2688, 8), 17: (2752, 64), 18: (2816, 8192)}),
)  # fmt: skip
AMD = XstateLayout(0x2E7, 2440, MappingProxyType({2: (576, 256), 5: (832, 64), 6: (896, 512), 7: (1408, 1024), 9: (2432, 8)}))
# An Intel client of 2015, and an emulated processor: MPX.
MPX = XstateLayout(
    0x2FF, 2696,
    MappingProxyType({2: (576, 256), 3: (960, 64), 4: (1024, 64), 5: (1088, 64), 6: (1152, 512), 7: (1664, 1024), 9: (2688, 8)}),
)  # fmt: skip
OLD = XstateLayout(0x7, 832, MappingProxyType({2: (576, 256)}))
HELD = (2, 5, 6, 7, 9)


def area(layout: XstateLayout, in_use: int, seed: bytes) -> bytes:
    """An XSAVE area as the kernel writes it: components that are not in use are zero."""
    raw = bytearray(layout.size)
    noise = (seed * (layout.size // len(seed) + 1))[: layout.size]
    raw[:512] = noise[:512]
    struct.pack_into("<QQ", raw, 512, in_use, 0)
    for bit in HELD:
        if in_use >> bit & 1:
            offset, size = layout.places[bit]
            raw[offset : offset + size] = noise[offset : offset + size]
    return bytes(raw)


def through_bytes(entry: user_x86_fpregs_entry) -> user_x86_fpregs_entry:
    return user_x86_fpregs_entry.FromString(entry.SerializeToString())


@settings(max_examples=60, deadline=None)
@given(
    layout=st.sampled_from([INTEL, AMD]), seed=st.binary(min_size=1, max_size=4096),
    bits=st.sets(st.sampled_from([0, 1, *HELD])),
)  # fmt: skip
def test_every_bit_comes_back(layout: XstateLayout, seed: bytes, bits: set[int]) -> None:
    raw = area(layout, sum(1 << bit for bit in bits), seed)
    assert xstate.load(through_bytes(xstate.save(raw, layout)), layout) == raw


@given(seed=st.binary(min_size=64, max_size=4096))
@settings(max_examples=20, deadline=None)
def test_an_image_moves_between_layouts(seed: bytes) -> None:
    raw = area(INTEL, 0x2E7, seed)
    on_amd = xstate.load(through_bytes(xstate.save(raw, INTEL)), AMD)
    for bit in HELD:
        (there, size), (here, _) = INTEL.places[bit], AMD.places[bit]
        assert on_amd[here : here + size] == raw[there : there + size]
    assert on_amd[:520] == raw[:520]


@pytest.mark.parametrize(("bit", "name"), [(17, "AMX tile configuration"), (18, "AMX tile data"), (19, "APX")])
def test_what_no_field_holds_is_refused_by_name(bit: int, name: str) -> None:
    with pytest.raises(TargetError, match=name):
        xstate.save(area(INTEL, 0x7 | 1 << bit, b"x"), INTEL)


def test_a_missing_feature_is_named_only_if_in_use() -> None:
    in_use = xstate.save(area(AMD, 0x7 | 1 << 6, b"x"), AMD)
    (found,) = xstate.blockers(in_use, OLD)
    assert "AVX-512 upper halves" in found.why
    with pytest.raises(ImageError, match="AVX-512"):
        xstate.load(in_use, OLD)
    idle = xstate.save(area(AMD, 0x7, b"x"), AMD)
    assert not xstate.blockers(idle, OLD)
    assert xstate.load(idle, OLD)[:832] == area(AMD, 0x7, b"x")[:832]


def test_bounds_registers_are_kept() -> None:
    raw = bytearray(area(MPX, 0x21F, b"seed"))
    raw[960:1088] = bytes(range(128))
    assert xstate.load(through_bytes(xstate.save(bytes(raw), MPX)), MPX) == raw
    assert "MPX bounds" in xstate.blockers(xstate.save(bytes(raw), MPX), AMD)[0].why


def test_a_component_of_zeros_is_no_reason_against_a_processor_without_it() -> None:
    """Emulated processors show MPX as in use although nothing uses it: images of theirs restore on real ones."""
    idle = xstate.save(area(MPX, 0x21F, b"seed"), MPX)
    assert not xstate.blockers(idle, AMD)
    raw = xstate.load(idle, AMD)
    assert struct.unpack_from("<Q", raw, 512) == (0x207,)
    assert raw[576:832] == area(MPX, 0x21F, b"seed")[576:832]


def test_an_image_cannot_claim_tiles_it_does_not_hold() -> None:
    entry = xstate.save(area(INTEL, 0x7, b"x"), INTEL)
    entry.xsave.xstate_bv |= 1 << 18
    (found,) = xstate.blockers(entry, INTEL)
    assert "AMX tile data" in found.why


def test_an_image_without_xsave_is_x87_and_sse() -> None:
    entry = xstate.save(area(INTEL, 0x3, b"seed"), INTEL)
    entry.ClearField("xsave")
    raw = xstate.load(entry, INTEL)
    assert raw[:512] == area(INTEL, 0x3, b"seed")[:512]
    assert struct.unpack_from("<Q", raw, 512) == (3,)


@pytest.mark.parametrize("field", ["st_space", "xmm_space"])
def test_short_fields_are_refused(field: str) -> None:
    entry = xstate.save(area(INTEL, 0x7, b"x"), INTEL)
    del getattr(entry, field)[-1]
    with pytest.raises(ImageError, match=field):
        xstate.load(entry, INTEL)


def test_a_component_in_use_must_be_there() -> None:
    entry = xstate.save(area(INTEL, 0x7, b"x"), INTEL)
    entry.xsave.ClearField("ymmh_space")
    with pytest.raises(ImageError, match="ymmh_space"):
        xstate.load(entry, INTEL)


def test_values_that_do_not_fit_are_refused() -> None:
    entry = xstate.save(area(INTEL, 0x7, b"x"), INTEL)
    entry.cwd = 1 << 16
    with pytest.raises(ImageError, match="16 bits"):
        xstate.load(entry, INTEL)


def test_compacted_or_short_areas_are_refused() -> None:
    raw = bytearray(area(INTEL, 0x7, b"x"))
    struct.pack_into("<Q", raw, 520, 1 << 63)
    with pytest.raises(TargetError, match="compacted"):
        xstate.save(bytes(raw), INTEL)
    with pytest.raises(TargetError, match="512 bytes"):
        xstate.save(bytes(512), INTEL)


def test_this_machines_layout_is_sane() -> None:
    layout = host_layout()
    assert layout.features & 0b11 == 0b11
    places = sorted(layout.places.values())
    assert all(offset >= 576 and offset + size <= layout.size for offset, size in places)
    assert all(one[0] + one[1] <= two[0] for one, two in pairwise(places))
    if 2 in layout.places:
        assert layout.places[2] == (576, 256)

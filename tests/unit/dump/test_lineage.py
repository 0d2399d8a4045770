"""On which layer a dump may stand, and why it may inherit nothing from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from lamina.core.attach.identity import Identity
from lamina.core.dirty.state import TargetState
from lamina.core.dump.lineage import decide
from lamina.core.errors import ImageError
from lamina.core.image.layer import Layer
from lamina.core.image.sidecar import Sidecar
from tests.corpus import unpack

PID = 169  # of the set


def annotated(path: Path) -> Layer:
    replace(Sidecar.for_foreign(path), label="by hand").store(path)
    return Layer(path)


@pytest.mark.parametrize("annotate", [False, True])
def test_a_layer_of_criu_may_be_a_parent_and_nothing_is_inherited(annotate: bool, tmp_path: Path) -> None:
    path = unpack("criu-3.17.1/three", tmp_path) / "3"
    layer = annotated(path) if annotate else Layer(path)
    identity = Identity(PID, 1, "boot")
    lineage = decide(layer, identity, TargetState(identity), lambda _: "")
    assert lineage.parent is layer
    assert "not made by lamina" in lineage.why_not
    assert not lineage.inheritable(PID, TargetState(identity, layer.sidecar.layer_id if layer.sidecar else "", settled=True))


@pytest.mark.parametrize("annotate", [False, True])
def test_a_layer_of_criu_with_other_tasks_is_refused(annotate: bool, tmp_path: Path) -> None:
    path = unpack("criu-3.17.1/three", tmp_path) / "3"
    layer = annotated(path) if annotate else Layer(path)
    identity = Identity(PID + 1, 1, "boot")
    with pytest.raises(ImageError, match=f"no task {PID + 1}"):
        decide(layer, identity, TargetState(identity), lambda _: "")


def test_restored_from_a_layer_of_criu_and_tracked_since(tmp_path: Path) -> None:
    layer = annotated(unpack("criu-3.17.1/three", tmp_path) / "3")
    identity = Identity(PID, 1, "boot")
    assert layer.sidecar
    state = TargetState(identity, layer.sidecar.layer_id, str(layer.path), settled=True)
    lineage = decide(layer, identity, state, lambda _: "")
    assert lineage.why_not == ""
    assert lineage.inheritable(PID, state)

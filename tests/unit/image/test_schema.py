"""The schema: generated code is what the .proto files say, and CRIU's own descriptors agree on names, numbers and types."""

import importlib
import json
import subprocess
from pathlib import Path

import pytest
from google.protobuf.descriptor import FieldDescriptor

from lamina.core.image import schema
from lamina.core.image.schema.generate import HERE, generate

# The same on disk: CRIU's `string` is our `bytes` (names need not be UTF-8).
SAME_ON_DISK = {(FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)}
# CRIU 4.2 calls the field this.
RENAMED = {("pagemap_entry", "nr_pages"): "compat_nr_pages"}
DUMP = """
import importlib, json, pkgutil, pycriu.images
out = {}
for m in pkgutil.iter_modules(pycriu.images.__path__):
    if m.name.endswith("_pb2"):
        for d in importlib.import_module("pycriu.images." + m.name).DESCRIPTOR.message_types_by_name.values():
            out[d.name] = [(f.name, f.number, f.type, f.label) for f in d.fields]
print(json.dumps(out))
"""


def test_generated_code_is_up_to_date(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools")
    for made in generate(tmp_path):
        assert made.read_text() == (HERE / made.name).read_text(), f"{made.name} is stale: run core/image/schema/generate.py"


def test_every_message_is_exported() -> None:
    for source in HERE.glob("*.proto"):
        described = importlib.import_module(f"lamina.core.image.schema.{source.stem}_pb2").DESCRIPTOR
        assert {*described.message_types_by_name, *described.enum_types_by_name} <= {*schema.__all__}


def test_criu_agrees_on_every_field_it_has() -> None:
    python = Path("/usr/bin/python3")
    got = subprocess.run([python, "-c", DUMP], capture_output=True, text=True, check=False) if python.exists() else None
    if got is None or got.returncode != 0:
        pytest.skip("pycriu (Debian package criu) is not installed")
    theirs = json.loads(got.stdout)
    checked = 0
    for name in schema.__all__:
        ours = getattr(schema, name)
        if name not in theirs or not hasattr(ours, "DESCRIPTOR"):
            continue
        fields = {field.name: field for field in ours.DESCRIPTOR.fields}
        for field_name, number, kind, label in theirs[name]:
            if field_name.startswith("ti_") and field_name not in fields:
                continue  # another architecture
            mine = fields[RENAMED.get((name, field_name), field_name)]
            assert mine.number == number, f"{name}.{field_name}"
            assert mine.type == kind or (kind, mine.type) in SAME_ON_DISK, f"{name}.{field_name}"
            assert (mine.is_required, mine.is_repeated) == (label == 2, label == 3), f"{name}.{field_name}"
            checked += 1
    assert checked > 700

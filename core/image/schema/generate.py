"""Turns the .proto files beside this one into *_pb2.py and *_pb2.pyi. Run by `make schema`; needs grpcio-tools (a dev dependency).

The results are committed, so that neither users nor the package build need a protobuf compiler; a test runs this and compares.
"""

import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = Path("lamina/core/image/schema")


def generate(into: Path) -> list[Path]:
    """Write the generated modules into the directory *into* and return their paths.

    Raises:
        RuntimeError: the compiler refused a file.
    """
    from grpc_tools import protoc  # type: ignore[import-untyped]

    sources = sorted(HERE.glob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        # The compiler derives Python's import names from the path, so it must see the package where it will be imported from.
        tree = Path(scratch)
        (tree / PACKAGE).parent.mkdir(parents=True)
        (tree / PACKAGE).symlink_to(HERE)
        out = tree / "out"
        out.mkdir()
        names = [str(PACKAGE / source.name) for source in sources]
        if protoc.main(["protoc", f"-I{tree}", f"--python_out={out}", f"--pyi_out={out}", *names]) != 0:
            raise RuntimeError("protoc refused the schema; see its messages above")
        made = sorted((out / PACKAGE).iterdir())
        for module in made:
            # The compiler's stubs leave Mapping bare, which mypy --strict refuses.
            (into / module.name).write_text(re.sub(r"_Mapping(?=\])", "_Mapping[str, object]", module.read_text()))
        return [into / module.name for module in made]


if __name__ == "__main__":
    for path in generate(HERE):
        sys.stdout.write(f"{path.name}\n")

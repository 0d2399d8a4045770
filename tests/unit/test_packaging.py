"""An installed lamina is whole: a folder that pyproject.toml does not list is missing from the wheel, and from nowhere else."""

import tomllib

from tests.live.harness import ROOT


def test_every_package_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [path.parent.relative_to(ROOT) for top in ("core", "tui") for path in (ROOT / top).rglob("__init__.py")]
    assert {"lamina." + ".".join(folder.parts) for folder in folders} == set(listed)

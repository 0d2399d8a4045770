"""Fixtures of the tests of the C boundary."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.steady import Steady

VICTIM = Path(__file__).parents[1] / "victims" / "steady.c"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("victims") / "steady"
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", binary, VICTIM, "-lpthread"], check=True)
    return binary


@pytest.fixture
def steady(program: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Steady]:
    """Its signals are "handled" or "ignored" if an indirect parameter says so."""
    file = tmp_path / "counts"
    signals = [request.param] if getattr(request, "param", "") else []
    process = subprocess.Popen([program, file, *signals], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    victim = Steady(process, file)
    try:
        while not file.exists() or file.stat().st_size < 40 or victim.counts()[0] == 0:
            assert process.poll() is None
        yield victim
    finally:
        process.kill()
        process.wait()

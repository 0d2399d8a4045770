"""The C part under the address and undefined-behaviour sanitizers: built with them beside the tree, and its tests run on that."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -g -O1"
TESTS = (
    "tests/fuzz/test_fuzz_frames.py",
    "tests/native/test_batch.py",
    "tests/native/test_copy.py",
    "tests/native/test_forced.py",
    "tests/native/test_freeze.py",
    "tests/native/test_grace.py",
    "tests/native/test_owner_pieces.py",
    "tests/native/test_pagemap.py",
    "tests/native/test_pinned.py",
    "tests/native/test_search.py",
    "tests/native/test_sockqueue.py",
    "tests/native/test_spawn.py",
    "tests/unit/image/test_pagemap.py",
    "tests/unit/restore/test_fill.py",
)


def library(name: str) -> str:
    return subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()


def test_no_c_call_reads_or_writes_where_it_must_not(tmp_path: Path) -> None:
    skip = shutil.ignore_patterns("*.so", "__pycache__", "_native.c")
    for part in ("core", "lamina", "native", "tui", "tests"):
        shutil.copytree(ROOT / part, tmp_path / part, symlinks=True, ignore=skip)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    env = os.environ | {"CFLAGS": FLAGS, "CI": ""}
    subprocess.run([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], check=True, cwd=tmp_path, env=env, capture_output=True)

    env |= {
        "PYTHONPATH": str(tmp_path),
        "LD_PRELOAD": f"{library('libasan.so')} {library('libubsan.so')}",
        # Python itself leaves memory to the end of the process.
        # What they say goes into files: pytest takes what a test writes, and loses it when they end the process.
        "ASAN_OPTIONS": f"detect_leaks=0:abort_on_error=1:log_path={tmp_path}/said",
        "UBSAN_OPTIONS": f"print_stacktrace=1:log_path={tmp_path}/said",
    }
    where = subprocess.run(
        [sys.executable, "-c", "import lamina.core.ffi as it; print(it.__file__)"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.startswith(str(tmp_path)), where.stdout
    done = subprocess.run(
        # The sanitizer keeps freed memory for a while, which the leak tests would take for a leak.
        [
            sys.executable, "-m", "pytest", "-q", "-k", "not leak and not a_second", "-p", "no:cacheprovider",
            "--basetemp", str(tmp_path / "t"), *TESTS,
        ],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = "".join(file.read_text() for file in tmp_path.glob("said.*"))
    assert done.returncode == 0 and not said, done.stdout[-6000:] + done.stderr[-2000:] + said[-6000:]

"""docs/inventory.toml: every name of the kernel's own lists is decided, and what a decision says of the code is so."""

import ast
import importlib
import os
import re
import socket
import tomllib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lamina.core.image import socket_options, supplement
from lamina.core.kinds.memory import vma_flags
from lamina.core.kinds.table import ATTRIBUTES
from lamina.core.kinds.task import rlimits
from lamina.core.kinds.thread import creds, refused
from lamina.core.objects.setting import Setting

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "tests/contract/kernel"
DECISIONS = {"record", "sidecar", "refused", "unseen", "derived", "absent"}
PROVED = {"record", "sidecar", "refused"}
# Sections for which no list of names exists.
UNLISTED = {"beyond"}
# The header's names of options that the others call by the shorter one.
OLD = {"SO_TIMESTAMP_OLD": "SO_TIMESTAMP", "SO_TIMESTAMPNS_OLD": "SO_TIMESTAMPNS", "SO_TIMESTAMPING_OLD": "SO_TIMESTAMPING"}
# What no option sets: the second name of one, and who made a pair.
OTHER_NAMES = {"IPV6_TRANSPARENT", "IPV6_RECVORIGDSTADDR", "SO_PEERCRED", "SO_PEERGROUPS"}


@cache
def table() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads((ROOT / "docs/inventory.toml").read_text())


def rows() -> list[tuple[str, dict[str, Any]]]:
    return [(section, row) for section, some in table().items() for row in some]


def decided(section: str, *decisions: str) -> set[str]:
    return {name for row in table()[section] if row["decision"] in decisions for name in row["names"]}


@cache
def kernel_lists() -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for file in ("linux.txt", "unlisted.txt"):
        section = ""
        for line in (KERNEL / file).read_text().splitlines():
            if line.startswith("["):
                section = line[1:-1]
                lists[section] = []
            elif line and not line.startswith("#"):
                lists[section].append(line)
    return lists


def test_every_name_of_the_kernels_lists_is_decided_once() -> None:
    lists = kernel_lists()
    assert set(table()) == set(lists) | UNLISTED
    assert sum(map(len, lists.values())) > 500
    for section, names in lists.items():
        counted = Counter(name for row in table()[section] for name in row["names"])
        assert set(names) - set(counted) == set(), f"{section}: not decided"
        assert set(counted) - set(names) == set(), f"{section}: not in the kernel's list"
        assert [name for name, count in counted.items() if count > 1] == [], f"{section}: decided twice"


@pytest.mark.parametrize(("section", "row"), rows(), ids=lambda it: it if isinstance(it, str) else it["names"][0])
def test_a_decision_says_who_and_what_proves_it(section: str, row: dict[str, Any]) -> None:
    assert row["decision"] in DECISIONS, section
    assert set(row) <= {"names", "decision", "by", "proof", "why"}
    if row["decision"] not in PROVED:
        assert row["why"] and "by" not in row and "proof" not in row
        return
    module, _, name = row["by"].partition(":")
    assert hasattr(importlib.import_module(module), name), row["by"]
    file, _, test = row["proof"].partition("::")
    found = [node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    assert test in found, row["proof"]


def test_what_cannot_be_seen_is_said_in_the_readme() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    missing = [row["why"] for _, row in rows() if row["decision"] == "unseen" and row["why"] not in readme]
    assert missing == []


def test_the_table_is_what_the_code_does() -> None:
    kept = set().union(*(decided(section, "sidecar") for section in ("SOL_SOCKET", "IPPROTO_IP", "IPPROTO_IPV6", "IPPROTO_TCP")))
    assert {OLD.get(name, name) for name in kept - OTHER_NAMES} == set(socket_options.OPTIONS)
    assert decided("VmFlags", "refused") == set(vma_flags.REFUSED_VMFLAGS)
    assert set(vma_flags.MAP_OF_VMFLAG) | set(vma_flags.MADV_OF_VMFLAG) <= decided("VmFlags", "record")
    assert decided("rlimit", "record") == {f"RLIMIT_{name}" for name in rlimits.NAMES}
    assert decided("capability", "record") == {f"CAP_{name}" for name in creds.CAP_NAMES}
    asked = {name for name in vars(refused) if name.startswith(("PR_GET_", "PR_SCHED", "PR_TIMER_CREATE", "PR_RSEQ", "ARCH_GET"))}
    assert asked <= decided("prctl", "refused") | decided("arch_prctl", "refused")
    fields = {kind.name for kind in ATTRIBUTES.threads if isinstance(kind, Setting)} | {"cgroups"}
    assert fields == set(supplement.THREAD_FIELDS)


def flags_of_this_kernel() -> set[str]:
    found: set[str] = set()
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("VmFlags:"):
            found |= set(line.split()[1:])
    return found


def test_this_kernel_has_nothing_that_the_lists_lack() -> None:
    lists = kernel_lists()
    files = set(os.listdir("/proc/self")) | set(os.listdir(f"/proc/self/task/{os.getpid()}"))
    # Files of kernels built for debugging.
    assert files - set(lists["proc"]) - {"make-it-fail", "fail-nth"} == set()
    assert flags_of_this_kernel() <= set(lists["VmFlags"])
    with socket.socket(socket.AF_UNIX) as sock:
        opened = [sock.fileno(), os.eventfd(0), os.memfd_create("x"), os.pidfd_open(os.getpid()), os.open("/dev/null", os.O_RDONLY)]
        for fd in opened:
            keys = {line.partition(":")[0] for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()}
            assert keys <= set(lists["fdinfo"])
        for fd in opened[1:]:
            os.close(fd)


def test_the_page_about_it_counts_right() -> None:
    """docs/inventory.md says how many names each decision has."""
    text = (ROOT / "docs/inventory.md").read_text()
    counts = Counter[str]()
    for _, row in rows():
        counts[row["decision"]] += len(row["names"])
    for decision in DECISIONS:
        assert re.search(rf"\| {decision} \| {counts[decision]} \|", text), (decision, counts[decision])

"""What other verbs make of layers whose pages are elsewhere, and of received ones."""

from pathlib import Path

from lamina.core.image.layer import Layer
from tests.live.harness import Layers, Reaper, lamina, start_c
from tests.live.page_servers import copy_images, page_server


def test_verbs_over_sent_and_received_layers(reaper: Reaper, layers: Layers, tmp_path: Path) -> None:
    victim = start_c(reaper, tmp_path / "victim", "cells", 4)
    received = tmp_path / "R"
    for number in (1, 2):
        victim.ask(f"write 100 {number}")
        on = ["--prev-images-dir", "../1"] if number == 2 else []
        with page_server(received / str(number), *on) as server:
            lamina("dump", "-t", victim.pid, "-D", layers.new(), "-R", "--track-mem", *on, *server.sending)
            server.end()
    state, one, two = victim.ask(), layers.path / "1", layers.path / "2"
    assert len(lamina("owners", two, "--json").json) > 0
    lamina("diff", one, two, "--map")
    for words in (
        ["restore", "-D", two],
        ["search", two, "abc"],
        ["core", two, victim.pid, "--output", tmp_path / "core"],
        ["dedup", "-D", two],
        ["diff", one, two],
        ["squash", f"{one}..{two}"],
        ["export", two, "--output", tmp_path / "two.tar"],
    ):
        ran = lamina(*words, ok=False)
        assert ran.status == 1 and "page server 127.0.0.1" in ran.err and len(ran.err.splitlines()) == 1, ran.said

    # A dump into files inherits nothing from pages that are elsewhere, and says so.
    ran = lamina("dump", "-t", victim.pid, "-D", layers.new(), "-R", "--prev-images-dir", "../2")
    assert "nothing is inherited from ../2: its pages are at page server" in ran.err and ", 0 inherited" in ran.out, ran.said

    # A received layer is changed as any other, before and after the sender's images are beside the pages.
    lamina("export", received / "2", "--output", tmp_path / "two.tar")
    assert lamina("verify", tmp_path / "two.tar", "--json").status == 0
    copy_images(two, received / "2")
    lamina("drop", received / "1")
    assert Layer(received / "2").parent_link is None
    assert [it["state"] for it in lamina("verify", received, "--json").json["layers"] if it["layer"].endswith("/2")] == ["restorable"]
    victim.end()
    lamina("restore", "-D", received / "2", "-d")
    assert victim.ask() == state

"""Thousands of real processes: they are there before all is known of them, and keys go before everything else."""

import time

from lamina.tui.app.lamina import LaminaApp
from lamina.tui.model.session import Session
from tests.tui.crowd import crowd
from tests.tui.test_processes import Story
from tests.tui.waiting import until

MANY = 3000
# Of processor time in the thread that answers, and three times what it should take: what else the machine does must not fail a test.
# `make bench` takes the real time.
KEY_S = 0.15


async def test_thousands_are_shown_at_once_and_keys_stay_quick() -> None:
    app = LaminaApp(Session())
    with crowd(MANY, 100, "mn") as many:
        async with app.run_test(size=(110, 40)) as pilot:
            story = Story(app, pilot)
            await until(lambda: story.list.rows)
            assert len(story.list.rows) > MANY and story.known.processes.unasked
            await until(lambda: not story.known.processes.unasked)
            _leader, member, *_, later = story.pids[story.pids.index(many.pid) + 1 :][:6]
            await story.go_to(later)
            await until(lambda: member in story.known.examined)
            # What takes long is not looked at in passing.
            assert many.pid not in story.known.examined and story.text_of(many.pid).rstrip().endswith("·")

            began, keys = time.thread_time(), ["down", "pagedown", "down", "greater_than_sign", "I", "down", "escape", "slash", "m", "n"]
            for at, key in enumerate(keys):
                app.simulate_key(key)
                if at % 3 == 0:
                    story.screen.read()
                await pilot.pause()
            assert (time.thread_time() - began) / len(keys) < KEY_S
            await until(lambda: story.known.filter is not None and story.known.hits >= MANY)
            await pilot.press("escape")
            assert len(story.list.rows) > MANY

#!/bin/sh
# Textual 8.2.8: a worker that is cancelled before its task had a turn is never finished. A second worker of an exclusive group, started in
# the same turn of the event loop as the first, cancels it: asyncio then never runs the task's body, which alone sets the state. So
# `is_finished` stays False and `is_running` True for ever, no StateChanged says otherwise, and who waits for the state waits in vain.
#
# Seen on Python 3.11.7:
#   first   RUNNING finished False cancelled True, its task done True
#   second  SUCCESS finished True  cancelled False, its task done True
# Expected: CANCELLED and finished, as for one that is cancelled a turn later.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" -q install textual==8.2.8
"$place/venv/bin/python" - <<'PYTHON'
import asyncio

from textual.app import App
from textual.worker import WorkerState

async def main():
    app = App()
    async with app.run_test() as pilot:
        start = lambda: app.run_worker(lambda: None, thread=True, exclusive=True, group="look")
        workers = [start(), start()]
        await asyncio.sleep(1)
        await pilot.pause()
        for name, worker in zip(("first", "second"), workers):
            state = f"{worker.state.name} finished {worker.is_finished!s:5} cancelled {worker.is_cancelled}"
            print(f"{name:7} {state}, its task done {worker._task.done()}")
        assert [worker.state for worker in workers] == [WorkerState.RUNNING, WorkerState.SUCCESS]
        later = start()
        await asyncio.sleep(0)
        later.cancel()
        await pilot.pause()
        print("later  ", later.state.name)

asyncio.run(main())
PYTHON

"""The first minute with the demo program."""

from lamina.tui.model.guide import Step, done, layers

FIRST_MINUTE = (
    Step("press d to take the first layer: all of the program's memory", lambda session, _: layers(session) > 0),
    Step(
        "watch the cells that change * · d again: only those are written",
        lambda session, _: layers(session) > 1,
        untracked="watch the cells · d again: all are written once more, as this program is not tracked",
    ),
    Step("3 shows both layers · ↓ to layer 1, then r: the program goes back to it", lambda _, jobs: done(jobs, "restore") > 0),
    Step(
        "it is back, its cells as they were · d from here begins a branch · q leaves",
        lambda _, jobs: jobs.jobs[0].operation.kind != "restore",
        asks=False,
    ),
)

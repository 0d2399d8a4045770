"""Which actions open something that takes the keyboard: a line to type into, or a choice.

If it does not open after all (there is no layer to be labelled), keys that were typed for it must not reach what is shown instead.
"""

OPEN_A_LINE = frozenset({
    "address", "elsewhere", "export", "filter", "find", "import", "jump_line", "label", "new_program", "pin", "receive", "relink",
    "save_view", "search", "send", "tidy", "timed",
})  # fmt: skip
OPEN_A_CHOICE = frozenset({
    "columns", "command_palette", "compare", "compare_live", "compress", "dedup", "drop", "final", "help", "image", "jump_mode", "open",
    "restore", "squash",
})  # fmt: skip

"""What a record may say, where several kinds rely on it: areas, the tree of tasks, queued signals, and the kernel's limits.

Only what holds on any machine is looked at here: a value that no kernel gives out and none would take back. What is of one kind alone, that
kind says (`damage` in `core/kinds`). What depends on the machine (is the pid free, is the file there, is the limit high
enough) restore asks.
"""

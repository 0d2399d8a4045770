"""What a record may say. One set of checks for everybody who relies on records: `verify` finds with it, and a restore begins with `verify`.

Only what holds on any machine is looked at here: a value that no kernel gives out and none would take back. What depends on the machine
(is the pid free, is the file there, is the limit high enough) restore asks in `lamina.core.restore.plan`. Each module has a function
`damage`, which yields one sentence for each thing wrong; the work is proportional to the size of the record.
"""

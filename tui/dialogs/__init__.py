"""The dialogs of the TUI, one file each, named by the domain."""

"""The command line: the one part of core that prints. One file per group of verbs; `main` is the way in."""

"""Images on disk: CRIU's format, layers, stacks, and which layer owns a page. Needs no process and no privileges."""

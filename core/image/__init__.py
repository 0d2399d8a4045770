"""Images on disk: CRIU's format, layers, stacks, who owns a page, dedup. Needs no privileges and no process."""

"""What changes a stack: dedup, squash, drop, prune, marks. Every step leaves each layer as restorable as it was, or says why not."""

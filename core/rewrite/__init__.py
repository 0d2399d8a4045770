"""What changes a stack: squash, drop, prune, undo, dedup, relink, labels, pins. No step silently makes a layer less restorable."""

"""Which pages changed since a layer: page runs as values, the trackers, and whose state the dirty bits are."""

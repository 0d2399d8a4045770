"""lamina's engine: attach, track, dump, read images, restore. No screen, no printing outside `cli.py`; usable as a library."""

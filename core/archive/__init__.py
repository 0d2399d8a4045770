"""Layers as archives and as compressed files: export, import, compress, expand."""

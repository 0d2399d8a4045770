"""One file per kind of kernel object: how it is recognised, saved and rebuilt, side by side."""

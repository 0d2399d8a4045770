"""Which key does what, and what is made from that: the palette, the `:` line, the key bar, and keys that the user has chosen."""

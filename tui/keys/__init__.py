"""Which key does what, and what is made from that: the palette, the `:` line, the bar of keys, keys of the user's choice."""

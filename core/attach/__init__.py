"""The target: what /proc says of it, who it is, how it is frozen and thawed, and how calls are made inside it."""

"""Every field of every record of real image sets, set to other values: what `verify` passes must not fail once processes exist."""

"""From a layer to a running program: every refusal first, then a fresh process built by batches of calls."""

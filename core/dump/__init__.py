"""From a running target to a layer: preflight, plan, freeze, capture, thaw, publish."""

"""What screens show, as plain values without Textual, which are tested without a screen."""

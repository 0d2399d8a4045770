"""What screens show as plain values, without Textual: pure, and tested without a screen."""

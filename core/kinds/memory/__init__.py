"""Mappings and what sticks to them."""

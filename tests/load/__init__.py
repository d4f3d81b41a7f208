"""Databases as full as those of a large platform."""

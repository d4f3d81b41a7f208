"""Searches everything that a run of the product leaves behind for its key material."""

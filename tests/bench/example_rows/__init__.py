"""Rows with known figures, for the test of the suite itself."""

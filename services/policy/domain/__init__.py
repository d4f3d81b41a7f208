"""The rules of quotes and policies; no I/O."""

"""What the rows compare with: the least program that does the same, each a process of its own."""

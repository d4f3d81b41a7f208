"""A second implementation to compare with: the Stacks JavaScript libraries, in a process of their own."""

"""The only process that holds the backend key or talks to a Stacks node."""

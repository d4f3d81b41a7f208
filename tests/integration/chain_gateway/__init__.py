"""The chain gateway with real parts."""

"""Compares our codec and pricing with values that other implementations computed."""

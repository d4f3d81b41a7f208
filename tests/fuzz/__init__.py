"""Feeds the codec what nobody should send."""

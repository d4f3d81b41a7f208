"""Recorded history, replayed at any market time through simulated exchanges."""

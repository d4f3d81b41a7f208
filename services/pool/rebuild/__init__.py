"""Makes the pool's books again: `python -m services.pool.rebuild`; docs/rebuild.md says what comes back."""

"""Makes the policies' books again: `python -m services.policy.rebuild`; docs/rebuild.md says what comes back."""

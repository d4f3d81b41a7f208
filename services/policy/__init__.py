"""The policy service: quotes, policies, their state and history."""

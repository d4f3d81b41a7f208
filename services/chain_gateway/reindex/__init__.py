"""Reads the chain anew and compares it with what was ingested: `python -m services.chain_gateway.reindex`."""

"""Stand-ins of exchanges: recorded prices in each exchange's own messages, and every fault on command."""

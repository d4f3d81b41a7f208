"""Random sequences of calls against the contracts, judged by a model of their own that knows only the rules."""

"""A gateway on a node that says what the test has it say."""

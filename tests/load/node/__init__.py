"""A stand-in for a Stacks node under load: the node's own HTTP protocol, and our contracts' ends of policies in Python.

It exists because the Clarity VM takes about 18 ms of a processor to create a policy and 3 ms to end one. What it leaves
out: signatures, fees' funds, post-conditions, creation and deposits, forks. tests/contracts and the devnet have those.
"""

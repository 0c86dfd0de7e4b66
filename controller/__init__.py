"""The profit controller: decides which units hash, from what hashing earns and what power costs.

It imports nothing of the node, so it can be run and replayed without one.
"""

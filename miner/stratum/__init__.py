"""Stratum V1: codec and sessions without sockets, and the server around them."""

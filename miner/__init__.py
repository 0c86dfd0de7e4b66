"""The node: from block templates to blocks, by way of hashing units and a ledger that loses nothing."""

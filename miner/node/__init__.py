"""bitcoind: JSON-RPC, new tips, templates, block submission and what the chain says of itself."""

"""Bitcoin's rules as a miner needs them, pure: difficulty, coinbase, merkle, block."""

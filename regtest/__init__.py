"""A real bitcoind for tests and the demo: found or fetched, started, mined on, always stopped."""

"""The ledger: every found block, decision and observation, on disk before anything is built on it."""

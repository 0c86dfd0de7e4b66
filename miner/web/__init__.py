"""The daemon's HTTP side: metrics, health, status and what the ledger holds; it changes nothing."""

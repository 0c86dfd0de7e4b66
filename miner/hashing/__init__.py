"""Units that hash on this machine."""

"""What keeps the controller from being built: sources that cannot be used as they are configured."""


class SourceRefusedError(Exception):
    """A source of prices or signals cannot be built as it is configured; the message says why."""


class TapeRefusedError(SourceRefusedError):
    """The price tape cannot be used; the message names each fault with file, line and column."""

"""What systemd is told of this service: that it is ready, that it stops, which process is the main one now."""

import os
import socket
from collections.abc import Mapping
from contextlib import suppress


def notify(state: Mapping[str, str | int], environ: Mapping[str, str] = os.environ) -> bool:
    """Send `state` (READY=1, STOPPING=1, MAINPID=...) to the service manager; False where none listens.

    The protocol is that of sd_notify(3): one datagram of lines to the socket named in NOTIFY_SOCKET, whose first
    character @ stands for an abstract one. A manager that does not take it is no reason to stop.
    """
    name = environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return False
    address = "\0" + name[1:] if name.startswith("@") else name
    lines = "\n".join(f"{key}={value}" for key, value in state.items())
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(lines.encode(), address)
        return True
    return False

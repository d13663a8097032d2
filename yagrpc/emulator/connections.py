"""Connections that break: the sockets of gRPC's server are found among the open files of this process, and shut down.

gRPC has no call for it. Both ends see a socket that is shut down as a broken cable or a dead peer; gRPC closes
it then by itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from typing import Final
from urllib.parse import unquote

__all__ = ["shut_connections"]

_OPEN_FILES: Final = "/dev/fd"
"""Where Linux and macOS list the open files of a process."""


def shut_connections(server_port: int, peer: str | None = None) -> int:
    """Shut down the connections that a server in this process has accepted.

    Args:
        server_port: The port that it listens on.
        peer: The client as gRPC names it (`ipv4:127.0.0.1:40123`), or `None` for all.

    Returns:
        How many there were; also 0 if the system does not list open files.
    """
    peer_port = None if peer is None else int(unquote(peer).rpartition(":")[2])
    shut = 0
    try:
        numbers = [int(name) for name in os.listdir(_OPEN_FILES)]
    except OSError:
        return 0
    for number in numbers:
        # Other threads open and close files meanwhile: a file that no longer exists is of no interest.
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(number).st_mode):
                continue
            with socket.socket(fileno=os.dup(number)) as found:
                if found.family not in (socket.AF_INET, socket.AF_INET6) or found.getsockname()[1] != server_port:
                    continue
                if peer_port is None or found.getpeername()[1] == peer_port:
                    found.getpeername()  # fails for the socket that listens
                    found.shutdown(socket.SHUT_RDWR)
                    shut += 1
    return shut

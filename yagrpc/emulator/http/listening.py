"""The HTTP server, in the event loop that is running.

Rules: uvicorn serves; it handles no signal and writes no log of its own, since the emulator is part of another program.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from yagrpc.emulator.connections import shut_connections

if TYPE_CHECKING:
    import ssl

__all__ = ["HttpServer"]

_TURNS: Final = 5
"""Turns of the event loop: the end of a connection is read in one, and closes its transport in the next."""


class HttpServer:
    """A server on one address.

    Args:
        app: The ASGI application.
        tls: The TLS context; `None` without TLS.
    """

    def __init__(self, app: Any, tls: ssl.SSLContext | None) -> None:
        self._app = app
        self._tls = tls
        self._task: asyncio.Task[None] | None = None
        self._server: Any = None
        self._port = 0

    async def start(self, host: str, port: int) -> int:
        """Listen, and return once connections are accepted.

        Args:
            host: The host or address.
            port: The port; 0 for any free one.

        Returns:
            The port.

        Raises:
            RuntimeError: The port is in use.
        """
        import uvicorn

        started = asyncio.Event()

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                started.set()

            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield

        listening = _listen(host, port)
        config = uvicorn.Config(
            self._app,
            http="h11",  # it limits the headers of a request
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,  # the emulator's clock gives the date
            proxy_headers=False,
        )
        config.load()
        config.ssl = self._tls
        self._server = Server(config)
        self._task = asyncio.ensure_future(self._server.serve([listening]))
        try:
            await started.wait()
        except BaseException:
            await self.stop()
            raise
        self._port = listening.getsockname()[1]
        return self._port

    async def stop(self) -> None:
        """Stop listening and end all requests; without effect if it is not running."""
        task, self._task = self._task, None
        if task is None:
            return
        for server in getattr(self._server, "servers", ()):  # there are none before its start
            server.close()
        # Requests end by themselves, since their connections do.
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()
        self._server.should_exit = self._server.force_exit = True
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await asyncio.wait({task})  # in a moment: what is open would be left to the garbage collector
            raise
        finally:
            # uvicorn does not know connections whose TLS handshake is not complete: the loop closes these, once it has
            # seen their end.
            shut_connections(self._port)
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        task.result()


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port of a server that was just stopped
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        listening.close()
        reason = f"{error.strerror}; port 0 takes a free one"
        raise RuntimeError(f"the emulator can't serve REST on {host}:{port}: {reason}") from error
    return listening

"""The emulator in an event loop: start and stop, and a blocking `run` for the command line."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import secrets
import signal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

import grpc.aio

from yagrpc import _pb
from yagrpc.emulator.control.service import add_control
from yagrpc.emulator.faults.schema import get_field
from yagrpc.emulator.options import EmulatorOptions, is_loopback
from yagrpc.emulator.rpc.pipeline import Pipeline
from yagrpc.emulator.rpc.playback import Playback
from yagrpc.emulator.rpc.tools import add_tools
from yagrpc.emulator.rpc.unpacking import OPTIONS, UnpackingServer
from yagrpc.emulator.services.registration import add_services
from yagrpc.emulator.state import State
from yagrpc.emulator.tls import Certificates

if TYPE_CHECKING:
    from yagrpc.emulator.http.listening import HttpServer

__all__ = ["GRACE_SECONDS", "EmulatorServer", "run", "serve"]

GRACE_SECONDS: Final = 1.0
"""How long running calls may take to end when a served emulator stops; seconds."""

_RETURN_SECONDS: Final = 0.2
"""How long a function of replies may take to return when the emulator ends all calls at once; seconds."""

_PENDING_CALLS: Final = 1_000_000


class EmulatorServer:
    """An emulator in the event loop that is running.

    Its state survives a stop, and a second start listens on the same port, like a service that was down for a while.

    Args:
        options: Its options; `None` for the defaults.
    """

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.state = State(options or EmulatorOptions())
        chosen = self.state.options
        self._certificates = Certificates(chosen.host) if chosen.tls is True else chosen.tls or None
        self._playback = None if chosen.recording is None else Playback(chosen.recording)
        self._port = self.state.options.port
        self._rest_port = 0 if isinstance(chosen.rest, bool) else chosen.rest
        self._server: grpc.aio.Server | None = None
        self._http: HttpServer | None = None
        self._token = secrets.token_urlsafe(16)
        self._crashing: asyncio.Task[None] | None = None
        self.state.on_crash = self._crash

    @property
    def address(self) -> str:
        """The address that it listens on, `host:port`; empty before the first start."""
        return self.state.address

    @property
    def rest_address(self) -> str:
        """The address of REST, `host:port`; empty before the first start, and without the option `rest`."""
        return self.state.rest_address

    @property
    def page_url(self) -> str:
        """The URL of the page, with the token of its buttons; empty where `rest_address` is, or without loopback."""
        if not self.rest_address or not is_loopback(self.state.options.host):
            return ""
        return f"http{'s' if self._certificates else ''}://{self.rest_address}/#{self._token}"

    @property
    def ca_file(self) -> str | None:
        """The file with the certificate that clients have to trust, as PEM; `None` without TLS."""
        return None if self._certificates is None else str(self._certificates.ca_file)

    async def start(self) -> None:
        """Start to listen.

        Raises:
            RuntimeError: The emulator is running, or the port is in use.
            StateFileError: The state file can't be used.
        """
        if self._server is not None:
            raise RuntimeError("the emulator is running already")
        self.state.open()
        try:
            self._server = await self._listen()
        except BaseException:
            self.state.close()
            raise

    async def _listen(self) -> grpc.aio.Server:
        server = grpc.aio.server(
            options=[
                *OPTIONS,
                # gRPC's refusal to send a large answer has the status of a quota's refusal, though the request has run.
                ("grpc.max_send_message_length", -1),
                # Otherwise a second emulator on the same port would start, and accept every second connection.
                ("grpc.so_reuseport", 0),
                # gRPC cancels random calls when 1000 wait to be accepted; tests send thousands at once.
                ("grpc.server.max_pending_requests", _PENDING_CALLS),
                ("grpc.server.max_pending_requests_hard_limit", _PENDING_CALLS),
            ],
        )
        pipeline = Pipeline(self.state)
        add_services(pipeline.registry, self.state)
        if self._playback is not None:
            self._playback.take_over(pipeline)
        if self.state.options.control:
            add_control(cast("grpc.aio.Server", UnpackingServer(server)), self.state)
        await add_tools(server, control=self.state.options.control)
        server.add_generic_rpc_handlers((pipeline,))
        host = self.state.options.host
        host = f"[{host}]" if ":" in host else host
        address = f"{host}:{self._port}"
        try:
            if self._certificates is None:
                self._port = server.add_insecure_port(address)
            else:
                self._port = server.add_secure_port(address, self._certificates.credentials())
        except RuntimeError as error:
            reason = _why_not(self.state.options.host, self._port) or error
            raise RuntimeError(f"the emulator can't listen on {address}: {reason}") from error
        self.state.address = f"{host}:{self._port}"
        await server.start()
        if self.state.options.rest is not False:
            try:
                await self._listen_http(pipeline, host)
            except BaseException:
                await server.stop(None)
                raise
        return server

    async def _listen_http(self, pipeline: Pipeline, host: str) -> None:
        # Here, since only this needs the packages of the extra `rest`.
        from yagrpc.emulator.http.app import App
        from yagrpc.emulator.http.listening import HttpServer
        from yagrpc.emulator.http.page import make_page

        # Its users can see and change everything, as with the control service.
        page = make_page(self.state, self._token) if is_loopback(self.state.options.host) else None
        app, tls = App(self.state, pipeline, page), None
        if self._certificates is not None:
            tls = self._certificates.context()
        http = HttpServer(app, tls)
        self._rest_port = await http.start(self.state.options.host, self._rest_port)
        self._http, self.state.rest_address = http, f"{host}:{self._rest_port}"

    async def stop(self, grace: float | None = None) -> None:
        """Stop listening and end all calls; without effect if the emulator is not running.

        Args:
            grace: Seconds that running calls have left; `None` ends them at once.

        Raises:
            RuntimeError: A crash was under way, and the emulator could not start again.
        """
        crashing, self._crashing = self._crashing, None
        try:
            if crashing is not None:
                crashing.cancel()
                await asyncio.wait({crashing})  # to await the task itself would take its end for that of this one
                if not crashing.cancelled():
                    crashing.result()
        finally:
            server, self._server = self._server, None
            if server is not None:
                await self._stop_http()
                await self._stop_server(server, grace)
            self.state.close()

    async def _stop_server(self, server: grpc.aio.Server, grace: float | None) -> None:
        loop = asyncio.get_running_loop()
        latest = loop.time() + (grace or _RETURN_SECONDS)
        await server.stop(grace)
        await self.state.script.leave(max(0.0, latest - loop.time()))

    async def _stop_http(self) -> None:
        http, self._http = self._http, None
        if http is not None:
            await http.stop()

    def _crash(self, crash: _pb.control_pb2.Crash) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            self._crashing = asyncio.ensure_future(self._crash_and_restart(server, crash))

    async def _crash_and_restart(self, server: grpc.aio.Server, crash: _pb.control_pb2.Crash) -> None:
        crashed_at = self.state.clock.now()
        # Twice: a quick client has a new connection by now, and would receive CANCELLED, which no dead process sends.
        self.state.shut()
        self.state.shut()
        await self._stop_http()
        await self._stop_server(server, None)
        if not get_field(crash, "keep"):
            self.state.operations.clear()
        self.state.close()
        await self.state.clock.wait_until(crashed_at + crash.down)
        await self.start()


def _why_not(host: str, port: int) -> str | None:
    """Why a port can't be listened on, in the system's words, which gRPC writes to its log only."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        return f"{error.strerror}{'; port 0 takes a free one' if in_use else ''}"
    return None


async def serve(options: EmulatorOptions | None = None, *, on_ready: Callable[[EmulatorServer], object]) -> None:
    """Run an emulator in the main thread's event loop until SIGINT or SIGTERM, then stop it gracefully.

    Args:
        options: The emulator's options; `None` for the defaults.
        on_ready: Called with the server, once it is listening.

    Raises:
        RuntimeError: The port is in use.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Loops on Windows take no signal handlers; there Ctrl-C cancels this coroutine instead.
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stopping.set)
    server = EmulatorServer(options)
    await server.start()
    try:
        on_ready(server)
        await stopping.wait()
    finally:
        await server.stop(GRACE_SECONDS)


def run(options: EmulatorOptions | None = None, *, on_ready: Callable[[EmulatorServer], object]) -> None:
    """`serve`, for a caller without an event loop: blocks until SIGINT or SIGTERM. For the main thread only.

    Args:
        options: The emulator's options; `None` for the defaults.
        on_ready: Called with the server, once it is listening.

    Raises:
        RuntimeError: The port is in use.
    """
    asyncio.run(serve(options, on_ready=on_ready))

"""A bare HTTP/2 server on loopback, for what no gRPC server sends: resets, gateways, broken frames, broken statuses.

Rules: the library h2 speaks HTTP/2; gRPC's own framing is written here, so that a test can break it. The server counts
a request once it has all of it, and answers then. The first request of each method gets the fault, all others an
answer. Each connection has a thread, which ends with the connection; what fails in one is raised by `close`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, RequestReceived, StreamEnded
from hpack import Encoder
from hyperframe.frame import GoAwayFrame, RstStreamFrame

Pair = tuple[str, str]

LARGEST_FRAME = 16_384
"""Bytes of the largest frame that each peer has to take."""


class Stream:
    """One request, and the means to answer it well or badly.

    Args:
        connection: The connection that it came by.
        number: The stream's id.
        headers: The request's headers.
    """

    def __init__(self, connection: Connection, number: int, headers: dict[str, str]) -> None:
        self.headers_received = headers
        self.number = number
        self._connection = connection
        self._http2 = connection.http2

    def headers(self, *pairs: Pair, status: str = "200", content_type: str = "application/grpc") -> None:
        """Send the first headers.

        Args:
            *pairs: The metadata.
            status: The HTTP status.
            content_type: The type of what follows.
        """
        self._headers(pairs, status, content_type)

    def only_headers(self, *pairs: Pair, status: str = "200", content_type: str = "application/grpc") -> None:
        """Send headers that end the answer; with a status of gRPC's among them they are "trailers only"."""
        self._headers(pairs, status, content_type, end=True)

    def message(self, body: bytes, flag: int = 0) -> None:
        """Send a message.

        Args:
            body: Its bytes.
            flag: 1 for a compressed one; gRPC knows no other but 0.
        """
        self.data(struct.pack(">BI", flag, len(body)) + body)

    def data(self, data: bytes) -> None:
        """Send bytes, which may be no whole message of gRPC's."""
        self._data(data)

    def last_data(self, data: bytes) -> None:
        """Send bytes that end the answer."""
        self._data(data, end=True)

    def trailers(self, *pairs: Pair) -> None:
        """Send the headers that end the answer."""
        self._http2.send_headers(self.number, pairs, end_stream=True)
        self._connection.flush()

    def reset(self, code: int) -> None:
        """Send RST_STREAM."""
        self.raw(RstStreamFrame(self.number, code).serialize())

    def go_away(self, last: int, code: int = 0, debug: bytes = b"") -> None:
        """Send GOAWAY, and leave the connection open.

        Args:
            last: The id of the last stream that the server deals with.
            code: Why.
            debug: Bytes of the server's choice.
        """
        self.raw(GoAwayFrame(0, last, code, debug).serialize())

    def frame(self, kind: int, flags: int, payload: bytes) -> None:
        """Send a frame of this stream, past the library."""
        self.raw(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", self.number) + payload)

    def raw(self, data: bytes) -> None:
        """Send bytes on the connection, past the library."""
        self._connection.send(data)

    def close(self) -> None:
        """End the connection in order (FIN), with the answer unfinished."""
        self._connection.socket.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Break the connection (RST)."""
        self._connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.socket.close()

    def _headers(self, pairs: tuple[Pair, ...], status: str, content_type: str, *, end: bool = False) -> None:
        first = ((":status", status), ("content-type", content_type), *pairs)
        self._http2.send_headers(self.number, first, end_stream=end)
        self._connection.flush()

    def _data(self, data: bytes, *, end: bool = False) -> None:
        for start in range(0, len(data), LARGEST_FRAME):
            self._http2.send_data(self.number, data[start : start + LARGEST_FRAME])
        if end:
            self._http2.end_stream(self.number)
        self._connection.flush()


Fault = Callable[[Stream, bytes], object]
"""Does something to a stream in place of answering it with the message that it is given."""


class LiteralEncoder(Encoder):
    """Writes every header by itself, as plain text.

    A header that refers to an earlier one which gRPC could not read fails as well, and so would all later answers.
    """

    def add(self, to_add: tuple[bytes, bytes], sensitive: bool, huffman: bool = False) -> bytes:
        return super().add(to_add, sensitive=True, huffman=False)


class Connection:
    """One connection of a client.

    Args:
        server: The server.
        connected: The socket.
    """

    def __init__(self, server: Http2Server, connected: socket.socket) -> None:
        self.socket = connected
        self._server = server
        self._headers: dict[int, dict[str, str]] = {}
        # What is sent is not checked: it may be wrong on purpose.
        self.http2 = H2Connection(
            H2Configuration(
                client_side=False,
                header_encoding="utf-8",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.http2.encoder = LiteralEncoder()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.socket.sendall(data)

    def flush(self) -> None:
        """Send what the library wants to be sent."""
        self.send(self.http2.data_to_send())

    def serve(self) -> None:
        """Answer requests until the connection ends."""
        with self.socket, contextlib.suppress(OSError):  # OSError: this is how a connection breaks, or is cut
            self.http2.initiate_connection()
            self.flush()
            while data := self.socket.recv(65_536):
                for event in self.http2.receive_data(data):
                    self._handle(event)
                self.flush()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            pairs: Any = event.headers  # text, as the configuration says: the annotation has bytes too
            self._headers[event.stream_id] = dict(pairs)
        elif isinstance(event, DataReceived):
            self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self._server.answer(Stream(self, event.stream_id, self._headers.pop(event.stream_id)))


class Http2Server:
    """A server that gives the first request of each method a fault, if there is one, and answers the rest.

    Args:
        message_of: Gives the message that answers a method, by the method's full path.
    """

    def __init__(self, message_of: Callable[[str], bytes]) -> None:
        self.fault: Fault | None = None
        """What the first request of each method gets."""
        self.received: Counter[str] = Counter()
        """How many requests of each method came in whole."""
        self._message_of = message_of
        self._lock = threading.Lock()
        self._closing = False
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:{1}".format(*self._listening.getsockname())
        """`host:port`."""
        self._start(self._accept)

    def answer(self, stream: Stream) -> None:
        """Count a request that is whole, and answer it."""
        path = stream.headers_received[":path"]
        with self._lock:
            self.received[path] += 1
            fault = self.fault if self.received[path] == 1 else None
        message = self._message_of(path)
        if fault is not None:
            fault(stream, message)
            return
        stream.headers()
        stream.message(message)
        stream.trailers(("grpc-status", "0"))

    def close(self) -> None:
        """End all connections.

        Raises:
            BaseException: What failed in a connection's thread.
        """
        self._closing = True
        socket.create_connection(self._listening.getsockname()).close()  # the thread that accepts ends on it
        self._threads[0].join()
        self._listening.close()
        for connected in self._connections:
            with contextlib.suppress(OSError):  # it has ended
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for failure in self._failures:
            raise failure

    def _accept(self) -> None:
        while True:
            connected, _ = self._listening.accept()
            if self._closing:
                connected.close()
                return
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections.append(connected)
            self._start(Connection(self, connected).serve)

    def _start(self, target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            except BaseException as failure:
                self._failures.append(failure)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

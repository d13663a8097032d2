"""Statuses that the peer sends, and those that gRPC makes by itself: against every call, on both clients and channels.

Only a status that the peer itself sent proves that nothing was started. gRPC gives the same codes for resets, for the
answers of a gateway, for sizes over a limit, and what the peer sent beside it may stay or not. The peer's own status is
known by its code, where gRPC never makes that one, or by trailers of the peer's beside it.

The first request of each call gets the fault. One that is sent again would be answered, and counted.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import grpc
import pytest

import yagrpc
from tests.faults.conftest import CALLS, METHODS, SEEN, answer_of
from tests.faults.http2 import Fault, Http2Server, Pair, Stream
from tests.faults.test_matrix import ANSWER, identified
from yagrpc import Code, _pb

IDS: Final[tuple[Pair, ...]] = (("x-request-id", "req-1"), ("x-server-trace-id", "trace"))
DATE: Final[Pair] = ("date", "Thu, 26 Nov 2026 12:00:00 GMT")
"""What a gateway adds to a status that the service sends alone: with it the status is known to be the peer's."""
OK: Final[Pair] = ("grpc-status", "0")
BIG: Final = "v" * 20_000
"""A value over the limit that gRPC has for metadata by itself, which is 16,384 bytes."""
LIMIT: Final = 10_000
"""Bytes of the largest message that the tests of sizes send or take."""

CHANNELS: Final = ("own", "host")
"""A channel that the client opened, and one of a host's, with gRPC's own options."""
GENERATIONS: Final = ("completion", "stream", "submit")
REPEATED: Final = {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.ABORTED}
"""Statuses on which a read is sent again."""
ENDS_WAIT: Final = {Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT, Code.UNIMPLEMENTED, Code.UNAUTHENTICATED}
"""Statuses of a Get that end a wait, besides NOT_FOUND."""
ERRORS: Final = {
    error.code: error for error in yagrpc.CallError.__subclasses__() if error is not yagrpc.MessageTooLargeError
}


class Result(NamedTuple):
    """How calls end that get a fault; without arguments, with an answer.

    Args:
        codes: The statuses that a call may fail with.
        refused: Whether they are known to be the peer's.
        message_first: Whether a message came before, so that a stream has given text.
        ids: Whether the service's ids came before.
        fixed: What calls end with, whatever the status; `""` stands for all calls without an entry.
    """

    codes: tuple[Code, ...] = ()
    refused: bool = False
    message_first: bool = False
    ids: bool = False
    fixed: dict[str, set[Any]] | None = None

    def of(self, call: str) -> set[Any]:
        """What a call may end with: classes of errors, or `ANSWER`."""
        if self.fixed is not None:
            return self.fixed.get(call) or self.fixed[""]
        ends = [self._of(code, call) for code in self.codes]
        return set().union(*ends) if ends else {ANSWER}

    def _of(self, code: Code, call: str) -> set[Any]:
        if call in GENERATIONS and not self.refused:
            own = {ERRORS[code]} if self.message_first and call == "stream" else set()
            return {yagrpc.AmbiguousSubmitError, *own}
        if call in GENERATIONS:
            return {ANSWER if code is Code.RESOURCE_EXHAUSTED else ERRORS[code]}
        if call == "wait" and code is Code.NOT_FOUND:
            return {yagrpc.OperationNotFoundError}
        passes = code not in ENDS_WAIT if call == "wait" else code in REPEATED
        return {ANSWER if passes else ERRORS[code]}


class Cause(NamedTuple):
    """One way in which a call fails.

    Args:
        fault: What the server does.
        own: The result on a channel of the client's own.
        host: The result on a channel of the host's; `None` for the same.
        started: Whether the server may have started what was asked; `False` where it says that it did not.
        options: Options of the channel.
    """

    fault: Fault
    own: Result
    host: Result | None = None
    started: bool = True
    options: tuple[tuple[str, int], ...] = ()


def proven(*codes: Code) -> Result:
    """A status that is known to be the peer's."""
    return Result(codes, refused=True)


def unproven(*codes: Code, message_first: bool = False, ids: bool = False) -> Result:
    """A status that gRPC may have created."""
    return Result(codes, message_first=message_first, ids=ids or message_first)


def refuse(code: Code, *pairs: Pair, message: str = "as scripted", status: str = "200") -> Fault:
    """A status and nothing before it ("trailers only")."""
    status_pairs = (("grpc-status", str(code.value)), ("grpc-message", message))
    return lambda stream, _: stream.only_headers(*status_pairs, *pairs, status=status)


def refuse_late(code: Code, *pairs: Pair, message: str = "as scripted") -> Fault:
    """Headers, then a status."""

    def fault(stream: Stream, body: bytes) -> None:
        stream.headers(*IDS)
        stream.trailers(("grpc-status", str(code.value)), ("grpc-message", message), *pairs)

    return fault


def answer(*trailers: Pair, headers: tuple[Pair, ...] = ()) -> Fault:
    """The answer, with other metadata."""

    def fault(stream: Stream, body: bytes) -> None:
        stream.headers(*IDS, *headers)
        stream.message(body)
        stream.trailers(*trailers)

    return fault


def deliver(change: Callable[[bytes], bytes], *headers: Pair) -> Fault:
    """Another message in place of the answer; a compressed one, where a header says so."""

    def fault(stream: Stream, body: bytes) -> None:
        stream.headers(*IDS, *headers)
        stream.message(change(body), flag=int(bool(headers)))
        stream.trailers(OK, DATE)

    return fault


def reset(code: int, *, headers: bool = False, message: bool = False) -> Fault:
    """RST_STREAM, perhaps after a part of the answer."""

    def fault(stream: Stream, body: bytes) -> None:
        if headers or message:
            stream.headers(*IDS)
        if message:
            stream.message(body)
        stream.reset(code)

    return fault


def gateway(status: str) -> Fault:
    """A page of a gateway that does not speak gRPC."""

    def fault(stream: Stream, body: bytes) -> None:
        stream.headers(*IDS, DATE, status=status, content_type="text/html")
        stream.last_data(b"<html></html>")

    return fault


def silent_gateway(status: str) -> Fault:
    """Headers of a gateway that speaks gRPC but for the status."""
    return lambda stream, _: stream.only_headers(*IDS, DATE, status=status)


def go_away(*, included: bool, code: int = 0) -> Fault:
    """GOAWAY, with the stream among those that are done; then the connection ends."""

    def fault(stream: Stream, body: bytes) -> None:
        stream.go_away(stream.number if included else 0, code, b"too_many_pings")
        if included:
            stream.close()

    return fault


def leave(stream: Stream, body: bytes) -> None:
    """Send the message, and close the connection."""
    stream.headers(*IDS)
    stream.message(body)
    stream.close()


def send_part(stream: Stream, body: bytes) -> None:
    """Send a part of the message, and the status OK."""
    stream.headers(*IDS)
    stream.data(b"\0" + (len(body) + 5).to_bytes(4, "big") + body)
    stream.trailers(OK, DATE)


def send_nothing(stream: Stream, body: bytes) -> None:
    """Send the status OK without a message."""
    stream.headers(*IDS)
    stream.trailers(OK, DATE)


def omit_trailers(stream: Stream, body: bytes) -> None:
    """Send the message, which ends the stream."""
    stream.headers(*IDS)
    stream.last_data(b"\0" + len(body).to_bytes(4, "big") + body)


def break_headers(stream: Stream, body: bytes) -> None:
    """Send HEADERS (with END_STREAM and END_HEADERS) that do not decode."""
    stream.frame(1, 5, b"\xff\xff\xff\xff")


def claim_and_reset(stream: Stream, body: bytes) -> None:
    """Put a status into the first headers, where it is none, and reset the stream."""
    claim = 'UNKNOWN:Error received from peer ipv4:127.0.0.1:1 {grpc_status:8, grpc_message:"quota"}'
    stream.headers(*IDS, DATE, ("grpc-status", "8"), ("grpc-message", claim))
    stream.reset(11)


def swell(body: bytes) -> bytes:
    """A message with a field that nobody knows (number 1000, of 50,000 bytes): it is over the limit."""
    return body + b"\xc2\x3e\xd0\x86\x03" + bytes(50_000)


def details(code: Code, size: int = 0) -> Pair:
    """The trailer that holds a status's details."""
    status = _pb.status_pb2.Status(code=code.value, message="v" * size)
    return "grpc-status-details-bin", base64.b64encode(status.SerializeToString()).decode().rstrip("=")


QUOTA: Final = Code.RESOURCE_EXHAUSTED
DENIED: Final = Code.PERMISSION_DENIED
LOGIN: Final = Code.UNAUTHENTICATED
MISSING: Final = Code.UNIMPLEMENTED
GONE: Final = Code.UNAVAILABLE

SIZE_ERROR: Final = yagrpc.MessageTooLargeError
TOO_LARGE: Final = Result(fixed={"": {SIZE_ERROR}})
UNREADABLE: Final = Result(fixed={"": {yagrpc.ResultError}, "wait": {yagrpc.OperationResultError}})
NO_MESSAGE: Final = Result(
    fixed={
        "": {yagrpc.ResultError},
        "stream": {ANSWER, yagrpc.ResultError},  # a stream may hold no message
        "wait": {yagrpc.OperationResultError},
    }
)
RECEIVES: Final = (("grpc.max_receive_message_length", LIMIT),)

REFUSALS = {
    "the peer's RESOURCE_EXHAUSTED": Cause(refuse(QUOTA, *IDS, DATE), proven(QUOTA), started=False),
    "the peer's RESOURCE_EXHAUSTED, after headers": Cause(refuse_late(QUOTA, DATE), proven(QUOTA), started=False),
    "the peer's RESOURCE_EXHAUSTED, with HTTP 429": Cause(
        refuse(QUOTA, DATE, status="429"), proven(QUOTA), started=False
    ),
    "the peer's RESOURCE_EXHAUSTED, with details": Cause(refuse(QUOTA, details(QUOTA)), proven(QUOTA), started=False),
    "the peer's PERMISSION_DENIED": Cause(refuse(DENIED, *IDS, DATE), proven(DENIED), started=False),
    "the peer's PERMISSION_DENIED, after headers": Cause(refuse_late(DENIED, DATE), proven(DENIED), started=False),
    "the peer's UNAUTHENTICATED": Cause(refuse(LOGIN, *IDS, DATE), proven(LOGIN), started=False),
    "the peer's UNIMPLEMENTED": Cause(refuse(MISSING, *IDS, DATE), proven(MISSING), started=False),
    **{  # gRPC makes none of these, so they need nothing beside them
        f"{code.name}, bare": Cause(refuse(code), proven(code), started=False)
        for code in (
            Code.INVALID_ARGUMENT,
            Code.NOT_FOUND,
            Code.ALREADY_EXISTS,
            Code.FAILED_PRECONDITION,
            Code.OUT_OF_RANGE,
        )
    },
    # gRPC makes these too: only the text differs.
    **{f"{code.name}, bare": Cause(refuse(code), unproven(code)) for code in (QUOTA, DENIED, LOGIN, MISSING)},
    # Sent once the answer is there: the peer's own library refuses to send it.
    "RESOURCE_EXHAUSTED by the peer's limit of messages": Cause(
        refuse(QUOTA, DATE, message="SERVER: Sent message larger than max (50011 vs. 10000)"), unproven(QUOTA)
    ),
}

RESETS = {
    "RST_STREAM NO_ERROR": Cause(reset(0), unproven(Code.INTERNAL)),
    "RST_STREAM INTERNAL_ERROR": Cause(reset(2), unproven(Code.INTERNAL)),
    "RST_STREAM REFUSED_STREAM": Cause(reset(7), unproven(GONE), started=False),
    "RST_STREAM CANCEL": Cause(reset(8), unproven(Code.CANCELLED)),
    "RST_STREAM CANCEL, after a message": Cause(reset(8, message=True), unproven(Code.CANCELLED, message_first=True)),
    "RST_STREAM ENHANCE_YOUR_CALM": Cause(reset(11), unproven(QUOTA)),
    "RST_STREAM ENHANCE_YOUR_CALM, after headers": Cause(reset(11, headers=True), unproven(QUOTA, ids=True)),
    "RST_STREAM ENHANCE_YOUR_CALM, after a message": Cause(
        reset(11, message=True), unproven(QUOTA, message_first=True)
    ),
    "RST_STREAM ENHANCE_YOUR_CALM, after a claim": Cause(claim_and_reset, unproven(QUOTA)),
    "RST_STREAM INADEQUATE_SECURITY": Cause(reset(12), unproven(DENIED)),
    "RST_STREAM INADEQUATE_SECURITY, after headers": Cause(reset(12, headers=True), unproven(DENIED, ids=True)),
    "RST_STREAM INADEQUATE_SECURITY, after a message": Cause(
        reset(12, message=True), unproven(DENIED, message_first=True)
    ),
}

HTTP_STATUSES: Final = {
    "400": Code.INTERNAL,
    "401": LOGIN,
    "403": DENIED,
    "404": MISSING,
    "429": GONE,
    "500": Code.UNKNOWN,
    "502": GONE,
    "503": GONE,
    "504": GONE,
}
GATEWAYS = {
    **{f"HTTP {status}, a page": Cause(gateway(status), unproven(code)) for status, code in HTTP_STATUSES.items()},
    **{
        f"HTTP {status}, no page": Cause(silent_gateway(status), unproven(HTTP_STATUSES[status]))
        for status in ("401", "403", "404")
    },
    "HTTP 200, a page": Cause(gateway("200"), unproven(Code.UNKNOWN)),
    "HTTP 200, no page": Cause(silent_gateway("200"), unproven(Code.UNKNOWN)),
    "HTTP 403 among the trailers": Cause(answer((":status", "403"), DATE), unproven(DENIED, message_first=True)),
    "HTTP/1.1 403": Cause(
        # What gRPC makes of it depends on whether it waits for settings still.
        lambda stream, _: stream.raw(b"HTTP/1.1 403 Forbidden\r\n\r\n"),
        unproven(DENIED, Code.UNKNOWN),
    ),
    "no trailers": Cause(omit_trailers, unproven(Code.UNKNOWN, message_first=True)),
    "trailers without a status": Cause(answer(DATE), unproven(Code.UNKNOWN, message_first=True)),
    "grpc-status 99": Cause(answer(("grpc-status", "99"), DATE), unproven(Code.UNKNOWN, message_first=True)),
    **{
        f"grpc-status {status!r}": Cause(
            answer(("grpc-status", status), DATE), unproven(Code.UNKNOWN, Code.INTERNAL, message_first=True)
        )
        for status in ("-1", "abc", "")
    },
}

METADATA = {  # the client's own channels have higher limits
    "metadata over gRPC's limit": Cause(answer(OK, headers=(("x-big", BIG),)), Result(), unproven(QUOTA)),
    "trailers over gRPC's limit": Cause(
        answer(OK, DATE, ("x-big", BIG)), Result(), unproven(QUOTA, message_first=True)
    ),
    "UNAUTHENTICATED, trailers over gRPC's limit": Cause(
        refuse(LOGIN, DATE, ("x-big", BIG)), proven(LOGIN), unproven(QUOTA), started=False
    ),
    "INTERNAL, its message over gRPC's limit": Cause(
        refuse_late(Code.INTERNAL, DATE, message=BIG), unproven(Code.INTERNAL, ids=True), unproven(QUOTA, ids=True)
    ),
    "INTERNAL, its details over gRPC's limit": Cause(
        refuse_late(Code.INTERNAL, DATE, details(Code.INTERNAL, len(BIG))),
        unproven(Code.INTERNAL, ids=True),
        unproven(QUOTA, ids=True),
    ),
}

MESSAGES = {
    "answer over the limit": Cause(deliver(swell), TOO_LARGE, options=RECEIVES),
    "compressed answer over the limit": Cause(
        deliver(lambda body: gzip.compress(swell(body)), ("grpc-encoding", "gzip")),
        TOO_LARGE,
        # Newer gRPC words this one without sizes, as no other.
        Result(
            fixed={
                **{call: {SIZE_ERROR, yagrpc.AmbiguousSubmitError} for call in GENERATIONS},
                "": {SIZE_ERROR, ANSWER},
            }
        ),
        options=RECEIVES,
    ),
    "unknown compression": Cause(
        deliver(bytes, ("grpc-encoding", "zstd")), unproven(Code.INTERNAL, Code.UNKNOWN, ids=True)
    ),
    "compressed answer": Cause(deliver(gzip.compress, ("grpc-encoding", "gzip")), Result()),
    # Said to be compressed, and it is not: a channel of our own leaves that to us, and the message is there.
    "broken compression": Cause(deliver(bytes, ("grpc-encoding", "gzip")), Result(), unproven(Code.INTERNAL, ids=True)),
    "broken gzip": Cause(
        deliver(lambda body: b"\x1f\x8b" + body, ("grpc-encoding", "gzip")),
        UNREADABLE,
        unproven(Code.INTERNAL, ids=True),
    ),
    "gzip that is cut short": Cause(
        deliver(lambda body: gzip.compress(body)[:-1], ("grpc-encoding", "gzip")),
        UNREADABLE,
        unproven(Code.INTERNAL, ids=True),
    ),
    # Not offered on a channel of our own, and unpacked by gRPC on a channel of the host's.
    "deflated answer": Cause(
        deliver(zlib.compress, ("grpc-encoding", "deflate")),
        Result(
            fixed={
                **{call: {yagrpc.ResultError, yagrpc.AmbiguousSubmitError} for call in GENERATIONS},
                "": {yagrpc.ResultError, ANSWER},
                "wait": {yagrpc.OperationResultError, ANSWER},
            }
        ),
        Result(),
    ),
    "no message": Cause(send_nothing, NO_MESSAGE),
    "a part of a message": Cause(send_part, NO_MESSAGE),
}

CONNECTIONS = {
    "headers that do not decode": Cause(break_headers, unproven(Code.INTERNAL, Code.UNKNOWN)),
    # A channel of the host's sends it again by itself, as the server says that nothing was started.
    "GOAWAY before the stream": Cause(go_away(included=False), unproven(GONE), Result(), started=False),
    "GOAWAY before the stream, ENHANCE_YOUR_CALM": Cause(
        go_away(included=False, code=11), unproven(GONE), Result(), started=False
    ),
    "GOAWAY after the stream": Cause(go_away(included=True), unproven(GONE)),
    "GOAWAY after the stream, ENHANCE_YOUR_CALM": Cause(go_away(included=True, code=11), unproven(GONE)),
    "connection reset": Cause(lambda stream, _: stream.cut(), unproven(GONE)),
    "connection closed": Cause(lambda stream, _: stream.close(), unproven(GONE)),
    "connection closed after a message": Cause(leave, unproven(GONE, message_first=True)),
}

CAUSES: Final[dict[str, Cause]] = {**REFUSALS, **RESETS, **GATEWAYS, **METADATA, **MESSAGES, **CONNECTIONS}


@pytest.fixture
def servers() -> Iterator[Callable[[Fault | None], Http2Server]]:
    """Starts servers."""
    started: list[Http2Server] = []

    def start(fault: Fault | None) -> Http2Server:
        started.append(Http2Server(lambda path: answer_of(METHODS[path])))
        started[-1].fault = fault
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.fixture
def host_channels(subject: Any) -> Iterator[Callable[..., Any]]:
    """Opens channels as a host does, and closes them."""
    opened: list[Any] = []

    def open_channel(*arguments: Any) -> Any:
        module = grpc if subject.kind == "sync" else grpc.aio
        opened.append(subject.in_loop(lambda: module.insecure_channel(*arguments)))
        return opened[-1]

    yield open_channel
    for one in opened:
        subject(one.close())


class Run(NamedTuple):
    """One call, over one kind of channel, that gets one fault."""

    cause: str
    channel: str
    call: str

    @property
    def result(self) -> Result:
        """How calls over this kind of channel end."""
        cause = CAUSES[self.cause]
        return cause.host if self.channel == "host" and cause.host is not None else cause.own

    def complaints(self, server: Http2Server, end: Any) -> Iterator[str]:
        """What is wrong with the way in which the call ended."""
        kind = type(end) if isinstance(end, BaseException) else ANSWER
        SEEN.setdefault((f"{self.cause} ({self.channel} channel)", self.call), set()).add(name_of(kind))
        allowed = self.result.of(self.call)
        if kind not in allowed:
            text = "" if kind is ANSWER else f": {end}"
            yield f"ended with {name_of(kind)}, not with {' or '.join(sorted(map(name_of, allowed)))}{text}"
        if isinstance(end, (yagrpc.CallError, yagrpc.AmbiguousSubmitError, yagrpc.OperationError)):
            identified(end, self.call)
        if self.call not in GENERATIONS:
            return
        received = sum(server.received.values())
        started = received - (not CAUSES[self.cause].started)
        if started > 1:
            yield f"{started} generations"
        if kind is not ANSWER and received != 1:
            yield f"sent {received} times for one error"


def name_of(kind: Any) -> str:
    """The name of a class of errors, or `ANSWER`."""
    return ANSWER if kind is ANSWER else str(kind.__name__)


def call_of(subject: Any, client: Any, call: str, text: str = "hello") -> Callable[[], Any]:
    """A call that `subject.together` makes."""
    settings: Any = {"timeout": 30.0, "request_id": "mine"}

    async def collected() -> list[Any]:
        return [chunk async for chunk in client.completion_stream(text, **settings)]

    calls: dict[str, Callable[[], Any]] = {
        "completion": lambda: client.completion(text, **settings),
        "stream": (lambda: list(client.completion_stream(text, **settings))) if subject.kind == "sync" else collected,
        "submit": lambda: client.completion_async(text, **settings),
        "wait": lambda: client.operation("op1").result(timeout=30.0),
        "cancel": lambda: client.operation("op1").cancel(**settings),
        "tokenize": lambda: client.tokenize(text, **settings),
    }
    return calls[call]


def client_of(subject: Any, address: str, channel: str, options: Any, host_channels: Callable[..., Any]) -> Any:
    """A client with a channel of the kind."""
    if channel == "own":
        return subject.client(endpoint=address, plaintext=True, channel_options=options)
    hosts = host_channels(address, options)
    return subject.client(endpoint=address, plaintext=True, channel=hosts, operation_channel=hosts)


def ends_of(subject: Any, servers: Any, host_channels: Any, runs: list[Run]) -> list[tuple[Run, Http2Server, Any]]:
    """Make all calls at once, each with a server and a client of its own: what each gave, or raised."""
    serving = [servers(CAUSES[run.cause].fault) for run in runs]
    calls = []
    for run, server in zip(runs, serving, strict=True):
        client = client_of(subject, server.address, run.channel, CAUSES[run.cause].options, host_channels)
        calls.append(call_of(subject, client, run.call))
    return list(zip(runs, serving, subject.together(calls), strict=True))


def complaints(ends: list[tuple[Run, Http2Server, Any]]) -> str:
    """What is wrong with the calls, in lines."""
    found = [f"{run}: {text}" for run, server, end in ends for text in run.complaints(server, end)]
    return "\n".join(found)


@pytest.mark.parametrize("cause", CAUSES)
def test_a_generation_is_sent_again_only_after_the_peers_own_refusal(
    subject: Any, servers: Any, host_channels: Any, cause: str
) -> None:
    runs = [Run(cause, channel, call) for channel in CHANNELS for call in CALLS if call != "wait"]
    assert not complaints(ends_of(subject, servers, host_channels, runs))


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_wait_ends_only_with_a_status_that_is_final(
    subject: Any, servers: Any, host_channels: Any, channel: str
) -> None:
    # All at once: the next Get after a refusal by a quota takes a second.
    runs = [Run(cause, channel, "wait") for cause in CAUSES]
    assert not complaints(ends_of(subject, servers, host_channels, runs))


@pytest.mark.parametrize("channel", CHANNELS)
def test_an_ambiguous_submit_has_the_services_ids_where_they_came(
    subject: Any, servers: Any, host_channels: Any, channel: str
) -> None:
    # gRPC's asyncio API has not always read the headers of a stream that failed.
    calls = ("completion", "submit") if subject.kind == "sync" else ("submit",)
    runs = [Run(cause, channel, call) for cause in CAUSES for call in calls]
    ends = ends_of(subject, servers, host_channels, [run for run in runs if run.result.ids])
    ids = {run: (end.request_id, end.server_trace_id) for run, _, end in ends}
    assert set(ids.values()) == {("req-1", "trace")}, ids


@pytest.mark.parametrize("call", [*GENERATIONS, "tokenize"])
@pytest.mark.parametrize("channel", CHANNELS)
def test_a_request_over_the_limit_of_any_channel_is_not_sent(
    subject: Any, servers: Any, host_channels: Any, channel: str, call: str
) -> None:
    server = servers(None)
    client = client_of(subject, server.address, channel, (("grpc.max_send_message_length", LIMIT),), host_channels)
    (end,) = subject.together([call_of(subject, client, call, "a word " * LIMIT)])
    # On a channel of the host's only the text of gRPC shows it.
    unsure = {yagrpc.AmbiguousSubmitError} if channel == "host" and call in GENERATIONS else set()
    assert type(end) in {SIZE_ERROR, *unsure}
    assert not server.received


class OwnError(grpc.RpcError):
    """What an interceptor raises for itself: it has a code, and no metadata."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "of the interceptor"


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT])
def test_an_error_of_an_interceptor_proves_nothing(subject: Any, servers: Any, code: grpc.StatusCode) -> None:
    class Blocking(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            continuation(client_call_details, request).result()
            raise OwnError(code)

    class Asynchronous(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            await (await continuation(client_call_details, request))
            raise OwnError(code)

    server = servers(None)
    interceptor = Blocking() if subject.kind == "sync" else Asynchronous()
    client = subject.client(endpoint=server.address, plaintext=True, interceptors=[interceptor])
    (end,) = subject.together([call_of(subject, client, "submit")])
    assert type(end) is yagrpc.AmbiguousSubmitError
    assert sum(server.received.values()) == 1

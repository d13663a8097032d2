"""What a server can make a client hold: every answer, error and text has a limit, however the server words it.

The memory is that of a child process, at its peak: it does not depend on time.
"""

from __future__ import annotations

import base64
import functools
import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import yagrpc
from tests.faults.http2 import Fault, Http2Server, Stream
from yagrpc import _pb
from yagrpc._core.failure.details import DETAIL_BYTES, MOST_DETAILS, NESTING
from yagrpc.errors.base import LONGEST_TEXT, LONGEST_VALUE

MIB = 1024 * 1024
BOMB = 384 * MIB
"""Bytes of the unpacked answer; 0.4 MiB on the wire."""
LARGEST = 320 * MIB
"""What the process may take: itself, and its limit twice."""
OK = ("grpc-status", "0")

ASKING = """
import asyncio, sys, yagrpc
settings = {"endpoint": sys.argv[1], "folder_id": "f", "credentials": yagrpc.NoCredentials(), "plaintext": True}
def call():
    with yagrpc.Client(**settings) as client:
        client.tokenize("a", timeout=60)
async def called():
    async with yagrpc.AsyncClient(**settings) as client:
        await client.tokenize("a", timeout=60)
try:
    call() if sys.argv[2] == "sync" else asyncio.run(called())
except yagrpc.YagrpcError as error:
    print(type(error).__name__, *[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


@pytest.fixture
def server() -> Iterator[Callable[[Fault], Http2Server]]:
    """Starts servers that give each first request a fault."""
    started: list[Http2Server] = []

    def start(fault: Fault) -> Http2Server:
        started.append(Http2Server(lambda path: b""))
        started[-1].fault = fault
        return started[-1]

    yield start
    for one in started:
        one.close()


def unknown_field(size: int) -> bytes:
    """The head of a field that nobody knows (number 1000, of bytes)."""
    digits = bytearray()
    while size > 0x7F:
        digits.append(size & 0x7F | 0x80)
        size >>= 7
    return b"\xc2\x3e" + bytes([*digits, size])


@functools.cache
def bomb() -> bytes:
    """A small gzip stream of a large message."""
    pack = zlib.compressobj(wbits=31)
    packed = pack.compress(unknown_field(BOMB)) + b"".join(pack.compress(bytes(MIB)) for _ in range(BOMB // MIB))
    return packed + pack.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process took since it began")
@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_a_compressed_answer_is_unpacked_up_to_the_limit_only(server: Any, kind: str) -> None:
    packed = bomb()

    def fault(stream: Stream, body: bytes) -> None:
        stream.headers(("grpc-encoding", "gzip"))
        stream.message(packed, flag=1)
        stream.trailers(OK)

    done = subprocess.run(
        [sys.executable, "-c", ASKING, server(fault).address, kind],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )
    assert done.returncode == 0, done.stderr
    error, kibibytes = done.stdout.split()
    assert error == "MessageTooLargeError"
    assert int(kibibytes) * 1024 < LARGEST


def refusing(code: int, *pairs: tuple[str, str], message: str = "no") -> Fault:
    """A status of the peer's own."""
    trailers = (
        ("grpc-status", str(code)),
        ("grpc-message", message),
        ("date", "Thu, 26 Nov 2026 12:00:00 GMT"),
        *pairs,
    )
    return lambda stream, _: stream.only_headers(*trailers)


def refusal(subject: Any, address: str) -> yagrpc.CallError:
    """The error of a call."""
    client = subject.client(endpoint=address, plaintext=True)
    with pytest.raises(yagrpc.CallError) as caught:
        subject(client.tokenize("a", timeout=60))
    return caught.value


def details_of(status: _pb.status_pb2.Status) -> tuple[str, str]:
    """The trailer that has the details of a status."""
    return "grpc-status-details-bin", base64.b64encode(status.SerializeToString()).decode().rstrip("=")


def test_details_of_a_status_have_a_budget(subject: Any, server: Any) -> None:
    status = _pb.status_pb2.Status(code=3)
    small = _pb.error_details_pb2.RequestInfo(request_id="r")
    large = _pb.error_details_pb2.DebugInfo(stack_entries=[""] * (4 * MIB))
    status.details.add().Pack(small)
    status.details.add().Pack(large)
    status.details.add(type_url="x" * MIB)
    status.details.add().Pack(small)
    for _ in range(100_000):
        status.details.add()
    error = refusal(subject, server(refusing(3, details_of(status))).address)
    first, second, third, fourth, *others = error.details
    assert first == fourth == {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r"}
    assert second == {"@type": "type.googleapis.com/google.rpc.DebugInfo", "omittedBytes": 8 * MIB + 40}
    assert third == {"@type": "x" * 200, "omittedBytes": MIB}
    assert len(others) == MOST_DETAILS - 4
    assert isinstance(error, yagrpc.InvalidArgumentError)


def nested_any(levels: int) -> _pb.any_pb2.Any:
    """An `Any` that holds an `Any`, and so on."""
    packed = _pb.any_pb2.Any(type_url="type.googleapis.com/google.protobuf.Any")
    for _ in range(levels):
        outer = _pb.any_pb2.Any()
        outer.Pack(packed)
        packed = outer
    return packed


@pytest.mark.parametrize("levels", [NESTING - 1, 900])
def test_a_detail_that_is_nested_without_end_is_its_bytes(levels: int, subject: Any, server: Any) -> None:
    packed = nested_any(levels)
    assert packed.ByteSize() < DETAIL_BYTES
    error = refusal(subject, server(refusing(3, details_of(_pb.status_pb2.Status(details=[packed])))).address)
    assert error.details == ({"@type": packed.type_url, "value": base64.b64encode(packed.value).decode()},)


def test_a_detail_that_is_nested_as_messages_may_be_is_kept(subject: Any, server: Any) -> None:
    packed = nested_any(NESTING - 2)  # the innermost Any and its empty value have a level each
    error = refusal(subject, server(refusing(3, details_of(_pb.status_pb2.Status(details=[packed])))).address)
    assert str(error.details).count("@type") == NESTING - 1


def test_the_texts_of_an_error_have_a_limit(subject: Any, server: Any) -> None:
    long = "y" * (2 * MIB)
    error = refusal(subject, server(refusing(3, ("x-request-id", long), message=long)).address)
    assert error.message == f"{'y' * LONGEST_TEXT}... ({2 * MIB} characters in all)"
    assert error.request_id.startswith("y" * LONGEST_VALUE)
    assert len(str(error)) < 2 * LONGEST_TEXT
    assert len(repr(error.args)) < 2 * LONGEST_TEXT


def operation_bytes(operation: _pb.operation_pb2.Operation) -> Fault:
    """An operation in place of the answer."""

    def fault(stream: Stream, body: bytes) -> None:
        stream.headers()
        stream.message(operation.SerializeToString())
        stream.trailers(OK)

    return fault


def test_the_error_of_an_operation_has_a_budget(subject: Any, server: Any) -> None:
    operation = _pb.operation_pb2.Operation(id="op1", done=True)
    operation.error.code, operation.error.message = 13, "z" * MIB
    operation.error.details.append(nested_any(900))
    operation.error.details.add(type_url="t", value=bytes(MIB))
    client = subject.client(endpoint=server(operation_bytes(operation)).address, plaintext=True)
    with pytest.raises(yagrpc.OperationFailedError) as caught:
        subject(client.operation("op1").result(timeout=60))
    assert len(str(caught.value)) < 2 * LONGEST_TEXT
    assert list(caught.value.details[0]) == ["@type", "value"]
    assert caught.value.details[1] == {"@type": "t", "omittedBytes": MIB + 1}


def test_a_result_type_of_any_length_is_named_in_part(subject: Any, server: Any) -> None:
    operation = _pb.operation_pb2.Operation(id="op1", done=True)
    operation.response.type_url = "x/" + "n" * MIB
    client = subject.client(endpoint=server(operation_bytes(operation)).address, plaintext=True)
    with pytest.raises(yagrpc.OperationResultError) as caught:
        subject(client.operation("op1").result(timeout=60))
    assert len(str(caught.value)) < 2 * LONGEST_TEXT


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_shows_an_operation_that_is_nested_without_end(server: Any, as_json: bool) -> None:
    operation = _pb.operation_pb2.Operation(id="op1", done=True)
    operation.response.CopyFrom(nested_any(900))
    operation.metadata.CopyFrom(nested_any(900))
    address = server(operation_bytes(operation)).address
    command = [sys.executable, "-m", "yagrpc", "operation", "get", "op1", "--endpoint", address, "--plaintext"]
    done = subprocess.run(
        [*command, *(["--json"] if as_json else [])],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "GRPC_VERBOSITY": "NONE", "YC_API_KEY": "k", "YC_FOLDER_ID": "f"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "op1" in done.stdout

"""yagrpc inside another service: the host's channels, interceptors, messages and transport security."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import yagrpc
from tests.contract.raw import RawServer
from tests.contract.test_closing import _after as after
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, paths


class Counting(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Notes the methods that go through a blocking channel."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        self.methods.append(details.method)
        return continuation(details, request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        self.methods.append(details.method)
        return continuation(details, request)


class AsyncCounting(grpc.aio.UnaryUnaryClientInterceptor):
    """Notes the methods that go through an asyncio channel."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        method = client_call_details.method
        self.methods.append(method.decode() if isinstance(method, bytes) else method)
        return await continuation(client_call_details, request)


class Broken(grpc.UnaryUnaryClientInterceptor):
    """Fails with what gRPC raises, too, where a channel is closed."""

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        raise ValueError("a mistake of mine")


class AsyncBroken(grpc.aio.UnaryUnaryClientInterceptor):
    """The same on asyncio."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        raise ValueError("a mistake of mine")


def test_an_interceptor_that_fails_is_not_taken_for_a_closed_client(subject: Any, emulator: Emulator) -> None:
    broken = Broken() if subject.kind == "sync" else AsyncBroken()
    client = subject.client(emulator, interceptors=[broken])
    with pytest.raises(ValueError, match="^a mistake of mine$"):
        subject(client.tokenize("hello"))
    with pytest.raises(yagrpc.OperationError, match="d7q: its Get could not be sent: a mistake of mine"):
        subject(client.operation("d7q").result(timeout=10))


def test_interceptors_see_every_call(subject: Any, emulator: Emulator) -> None:
    counting: Any = Counting() if subject.kind == "sync" else AsyncCounting()
    client = subject.client(emulator, interceptors=[counting])
    operation = subject(client.completion_async("hello"))
    emulator.advance(3600)
    subject(operation.result(timeout=10))
    assert counting.methods[0] == paths.COMPLETION_ASYNC
    assert counting.methods[1] == paths.OPERATION_GET
    if subject.kind == "sync":
        subject(client.completion("hello"))
        assert counting.methods[-1] == paths.COMPLETION


def test_the_hosts_channels_are_used_and_left_open(subject: Any, emulator: Emulator) -> None:
    opened: Any = grpc.insecure_channel if subject.kind == "sync" else grpc.aio.insecure_channel
    models, operations = (subject.in_loop(lambda: opened(emulator.address)) for _ in range(2))
    client = subject.client(channel=models, operation_channel=operations)
    operation = subject(client.completion_async("hello"))
    emulator.advance(3600)
    assert "hello" in subject(operation.result(timeout=10)).text
    subject(client.close())
    request = _pb.operation_service_pb2.GetOperationRequest(operation_id=operation.id)
    get = operations.unary_unary(
        paths.OPERATION_GET,
        request_serializer=_pb.operation_service_pb2.GetOperationRequest.SerializeToString,
        response_deserializer=_pb.operation_pb2.Operation.FromString,
    )

    async def ask() -> Any:
        return await get(request)

    assert (get(request) if subject.kind == "sync" else subject(ask())).done
    for channel in (models, operations):
        subject(channel.close())


def test_a_service_of_ones_own_is_called_on_the_hosts_channel_without_discovery(subject: Any) -> None:
    opened: Any = grpc.insecure_channel if subject.kind == "sync" else grpc.aio.insecure_channel
    kind: Any = _pb.operation_service_pb2.GetOperationRequest
    method: Any = yagrpc.UnaryMethod("/shop.v1.Shop/Get", request=kind, response=kind)
    raw = RawServer()
    raw.answers["/shop.v1.Shop/Get"] = lambda request, context: request
    channel = subject.in_loop(lambda: opened(raw.address))
    try:
        client = subject.client(channel=channel)
        assert subject(client.call(method, kind(operation_id="a"), timeout=30)).operation_id == "a"
        assert raw.calls == ["/shop.v1.Shop/Get"]
        subject(client.close())
    finally:
        subject(channel.close())
        raw.stop()


def noted(stream: Any, came: threading.Event) -> Any:
    """Read a stream, and tell of its messages."""
    if hasattr(stream, "__next__"):
        for _ in stream:
            came.set()
        return None

    async def read() -> None:
        async for _ in stream:
            came.set()

    return read()


@pytest.mark.parametrize("read", [0, 1])
def test_closing_ends_a_stream_on_a_channel_of_the_hosts(subject: Any, read: int) -> None:
    """One that waits for its first message, or for another."""
    answer = _pb.text_generation_service_pb2.CompletionResponse()
    answer.alternatives.add().message.text = "one"
    raw, came, left = RawServer(), threading.Event(), threading.Event()

    def answers(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(left.set)
        for _ in range(read):
            yield answer.SerializeToString()
        if not read:
            came.set()
        left.wait(20)

    raw.streams["Completion"] = answers
    opened: Any = grpc.insecure_channel if subject.kind == "sync" else grpc.aio.insecure_channel
    channel = subject.in_loop(lambda: opened(raw.address))
    client = subject.client(channel=channel)
    calls = [lambda: noted(client.completion_stream("a"), came), lambda: after(subject, came.wait, client.close)]
    error, closed = subject.together(calls)
    assert closed is None
    assert type(error) is (yagrpc.ClientClosedError if read else yagrpc.AmbiguousSubmitError), error
    assert left.wait(20)
    subject(channel.close())
    raw.stop()


HANGING: dict[str, tuple[str, Callable[[Any], Any], type[BaseException]]] = {
    "read": ("Tokenize", lambda client: client.tokenize("a"), yagrpc.CallCancelledError),
    "completion": ("Completion", lambda client: client.completion("a"), yagrpc.AmbiguousSubmitError),
    "submit": ("Completion", lambda client: client.completion_async("a"), yagrpc.AmbiguousSubmitError),
    "get": ("Get", lambda client: client.operation("op1").result(), yagrpc.ClientClosedError),
}
"""Calls by what they are: what the server does not answer, the call, and what its caller gets."""


@pytest.mark.parametrize("name", HANGING)
def test_a_call_whose_host_closes_its_channel_is_not_cancelled_but_fails(subject: Any, name: str) -> None:
    """A task that nobody cancels gets no CancelledError, and a submit is not said to have been given up."""
    method, call, expected = HANGING[name]
    raw, came, left = RawServer(), threading.Event(), threading.Event()

    def hang(request: bytes, context: grpc.ServicerContext) -> Any:
        context.add_callback(left.set)
        came.set()
        left.wait(20)
        return b""

    def hang_streaming(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        yield hang(request, context)

    if name == "completion":
        raw.streams[method] = hang_streaming
    else:
        raw.answers[method] = hang
    opened: Any = grpc.insecure_channel if subject.kind == "sync" else grpc.aio.insecure_channel
    channel = subject.in_loop(lambda: opened(raw.address))
    client = subject.client(channel=channel, operation_channel=channel)
    error, closed = subject.together([lambda: call(client), lambda: after(subject, came.wait, channel.close)])
    assert closed is None
    assert type(error) is expected, error
    assert left.wait(20)
    raw.stop()


def test_channel_closed_by_the_host_is_reported(subject: Any, emulator: Emulator) -> None:
    opened: Any = grpc.insecure_channel if subject.kind == "sync" else grpc.aio.insecure_channel
    channel = subject.in_loop(lambda: opened(emulator.address))
    client = subject.client(channel=channel, operation_channel=channel)
    subject(client.tokenize("a"))
    subject(channel.close())
    for call in (client.tokenize, client.completion, client.completion_async):
        with pytest.raises(yagrpc.ClientClosedError):
            subject(call("hello"))
    with pytest.raises(yagrpc.ClientClosedError):
        subject(client.operation("op1").result())


def test_the_blocking_client_puts_interceptors_around_the_hosts_channel(emulator: Emulator) -> None:
    counting = Counting()
    with grpc.insecure_channel(emulator.address) as channel:
        settings: dict[str, Any] = {"folder_id": "f", "credentials": yagrpc.NoCredentials(), "interceptors": [counting]}
        with yagrpc.Client(channel=channel, **settings) as client:
            client.completion_async("hello")
    assert counting.methods == [paths.COMPLETION_ASYNC]


@pytest.mark.parametrize("name", ["channel", "operation_channel"])
def test_what_is_no_channel_of_the_clients_api_is_refused_when_the_client_is_created(subject: Any, name: str) -> None:
    async def check() -> None:
        with grpc.insecure_channel("localhost:1") as blocking:
            async with grpc.aio.insecure_channel("localhost:1") as asynchronous:
                for channel in ("localhost:1", 5, object(), blocking if subject.kind == "aio" else asynchronous):
                    with pytest.raises(yagrpc.ConfigError, match=rf"^{name} is .*: (Async)?Client takes a channel of"):
                        subject.client(**{name: channel})

    asyncio.run(check())


def test_the_asyncio_client_can_not(emulator: Emulator) -> None:
    async def make() -> None:
        async with grpc.aio.insecure_channel(emulator.address) as channel:
            with pytest.raises(yagrpc.ConfigError, match="give them to the channel itself"):
                yagrpc.AsyncClient(
                    credentials=yagrpc.NoCredentials(),
                    channel=channel,
                    operation_channel=channel,
                    interceptors=[AsyncCounting()],
                )

    asyncio.run(make())


def test_channel_options_reach_the_channel(subject: Any, emulator: Emulator) -> None:
    options = [("grpc.primary_user_agent", "host/2"), ("grpc.max_receive_message_length", 1000)]
    client = subject.client(emulator, channel_options=options)
    subject(client.tokenize("a"))
    assert str(emulator.requests[-1].metadata["user-agent"]).startswith("host/2 grpc-python")
    with pytest.raises(yagrpc.MessageTooLargeError) as caught:
        subject(client.tokenize("many words " * 1000))
    assert (caught.value.limit, caught.value.option) == (1000, "grpc.max_receive_message_length")


def test_an_answer_over_grpcs_own_limit_is_taken(subject: Any) -> None:
    with Emulator(duration=0.0, replies={"long": "x" * (6 * 1024 * 1024)}) as emulator:
        client = subject.client(emulator)
        assert len(subject(client.completion("long")).text) == 6 * 1024 * 1024
        assert len(subject(subject(client.completion_async("long")).result()).text) == 6 * 1024 * 1024
        assert emulator.calls[paths.COMPLETION] == 1


def test_every_kind_of_method_can_be_called(subject: Any, client: Any, emulator: Emulator) -> None:
    text = _pb.text_generation_service_pb2
    user = _pb.text_common_pb2.Message(role="user", text="hello")
    request = text.CompletionRequest(model_uri="gpt://f/m", messages=[user])
    (response,) = subject(client.call(methods.TextGenerationService.Completion, request))
    assert type(response) is text.CompletionResponse
    tokens = subject(client.call(methods.TokenizerService.TokenizeCompletion, request))
    assert len(tokens.tokens) == response.usage.input_text_tokens
    listed = subject(
        client.call(methods.ApiEndpointService.List, _pb.api_endpoint_service_pb2.ListApiEndpointsRequest())
    )
    assert "operation" in {endpoint.id for endpoint in listed.endpoints}
    created = subject(
        client.call(methods.IamTokenService.Create, _pb.iam_token_service_pb2.CreateIamTokenRequest(jwt="a.b.c"))
    )
    assert created.iam_token.startswith("t1.")
    assert "authorization" not in emulator.requests[-1].metadata  # its callers have no token yet
    with pytest.raises(yagrpc.UnimplementedError):
        subject(client.call(methods.TextGenerationBatchService.Completion, text.BatchCompletionRequest()))


def test_a_request_of_another_pool_is_taken(subject: Any, client: Any, emulator: Emulator) -> None:
    pool = descriptor_pool.DescriptorPool()
    for proto in _with_imports(_pb.text_generation_service_pb2.DESCRIPTOR):
        pool.Add(proto)
    foreign = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("yandex.cloud.ai.foundation_models.v1.CompletionRequest")
    )
    request: Any = foreign(model_uri="gpt://f/m")
    request.messages.add(role="user", text="from elsewhere")
    operation = subject(client.call(methods.TextGenerationAsyncService.Completion, request))
    emulator.advance(3600)
    assert "from elsewhere" in subject(operation.result(timeout=10)).alternatives[0].message.text
    assert "from elsewhere" in subject(client.completion(request.messages[0])).text


def test_credentials_go_over_tls_that_is_verified(tmp_path: Path) -> None:
    """A process of its own, since gRPC reads the roots to trust once."""
    script = tmp_path / "tls.py"
    script.write_text(_TLS_SCRIPT)
    environment = {**os.environ, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(tmp_path / "ca.pem")}
    done = subprocess.run(
        [sys.executable, "-W", "error", script, str(Path(__file__).parents[2])],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "sync Bearer t1.secret",
        "sync found 2 of 3 after 1 look-up",
        "aio Bearer t1.secret",
        "aio found 2 of 3 after 1 look-up",
        "refused",
    ]


_TLS_SCRIPT = """
import asyncio, datetime, ipaddress, sys
from concurrent import futures
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import yagrpc
sys.path.append(sys.argv[1])  # the last: yagrpc is the one that is installed
from tests.contract.raw import RawServer
from tests.contract.test_closing import _after as after
from yagrpc import _pb

def certificate(names):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "yagrpc test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    signed = builder.sign(key, hashes.SHA256())
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return pem, signed.public_bytes(serialization.Encoding.PEM)

def serve(names):
    pem = certificate(names)
    seen = []
    class Tokens(_pb.text_generation_service_pb2_grpc.TokenizerServiceServicer):
        def Tokenize(self, request, context):
            seen.append(dict(context.invocation_metadata())["authorization"])
            return _pb.text_generation_service_pb2.TokenizeResponse()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    class Endpoints(_pb.api_endpoint_service_pb2_grpc.ApiEndpointServiceServicer):
        def List(self, request, context):
            assert "authorization" not in dict(context.invocation_metadata())
            seen.append("look-up")
            there = _pb.api_endpoint_pb2.ApiEndpoint(id="vpc", address=f"localhost:{port}")
            return _pb.api_endpoint_service_pb2.ListApiEndpointsResponse(endpoints=[there])
    _pb.text_generation_service_pb2_grpc.add_TokenizerServiceServicer_to_server(Tokens(), server)
    _pb.api_endpoint_service_pb2_grpc.add_ApiEndpointServiceServicer_to_server(Endpoints(), server)
    texts = _pb.text_generation_service_pb2
    answer = lambda request, context: texts.TokenizeResponse(model_version=request.text)
    stream = lambda request, context: iter([answer(request, context)])
    codec = (texts.TokenizeRequest.FromString, texts.TokenizeResponse.SerializeToString)
    handlers = {
        "Get": grpc.unary_unary_rpc_method_handler(answer, *codec),
        "Watch": grpc.unary_stream_rpc_method_handler(stream, *codec),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("yandex.cloud.vpc.v1.Nets", handlers),))
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pem]))
    server.start()
    return server, port, pem[1], seen

server, port, trusted, seen = serve(["localhost"])
Path("ca.pem").write_bytes(trusted)
settings = {"folder_id": "f", "credentials": yagrpc.IamToken("t1.secret")}
settings["endpoints"] = {"yandex.cloud.endpoint": f"localhost:{port}"}
module = "yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2"
types = {"request": f"{module}:TokenizeRequest", "response": f"{module}:TokenizeResponse"}
get = yagrpc.UnaryMethod("/yandex.cloud.vpc.v1.Nets/Get", **types)
watch = yagrpc.StreamMethod("/yandex.cloud.vpc.v1.Nets/Watch", **types)
nowhere = yagrpc.UnaryMethod("/yandex.cloud.nowhere.v1.Nets/Get", **types)
request = _pb.text_generation_service_pb2.TokenizeRequest(text="found")

def reported(kind, answers, error):
    assert "discovery has none of nowhere; give endpoints=" in str(error), error
    assert [answer.model_version for answer in answers] == ["found"] * 2
    print(f"{kind} found 2 of 3 after {len(seen)} {seen.pop()}")
with yagrpc.Client(endpoint=f"localhost:{port}", **settings) as client:
    client.tokenize("a")
    print("sync", seen.pop())
    answers = [*client.call(watch, request), client.call(get, request)]
    try:
        client.call(nowhere, request)
    except yagrpc.ConfigError as error:
        reported("sync", answers, error)

async def main():
    async with yagrpc.AsyncClient(endpoint=f"localhost:{port}", **settings) as client:
        await client.tokenize("a")
        print("aio", seen.pop())
        answers = [answer async for answer in client.call(watch, request)] + [await client.call(get, request)]
        try:
            await client.call(nowhere, request)
        except yagrpc.ConfigError as error:
            reported("aio", answers, error)
asyncio.run(main())

other, port, _, seen = serve(["localhost"])
with yagrpc.Client(endpoint=f"localhost:{port}", **settings) as client:
    try:
        client.tokenize("a", timeout=2)
    except yagrpc.UnavailableError as error:
        assert "secret" not in str(error)
        print("refused", *seen)
server.stop(None).wait()
other.stop(None).wait()
"""


def _with_imports(descriptor: Any) -> list[descriptor_pb2.FileDescriptorProto]:
    """A file and all that it imports, imports first."""
    found: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def visit(file: Any) -> None:
        for dependency in file.dependencies:
            visit(dependency)
        found.setdefault(file.name, descriptor_pb2.FileDescriptorProto.FromString(file.serialized_pb))

    visit(descriptor)
    return list(found.values())

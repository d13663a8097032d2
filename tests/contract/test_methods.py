"""Methods of any service through `client.call`: all kinds of streaming, endpoints found, metadata typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb, methods
from yagrpc.emulator import Emulator, paths

_TEXT = "yagrpc_proto.yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2:"
_TYPES: dict[str, Any] = {"request": f"{_TEXT}TokenizeRequest", "response": f"{_TEXT}TokenizeResponse"}
UP = yagrpc.ClientStreamMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Up", **_TYPES)
BOTH = yagrpc.BidiStreamMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Both", **_TYPES)


def words(*texts: str) -> list[Any]:
    """Requests of the methods above."""
    return [_pb.text_generation_service_pb2.TokenizeRequest(text=text) for text in texts]


def tokens(texts: list[str]) -> Any:
    """A response of the methods above."""
    return _pb.text_generation_service_pb2.TokenizeResponse(
        tokens=[_pb.text_common_pb2.Token(text=text) for text in texts]
    )


@pytest.fixture
def streaming() -> Iterator[str]:
    """The address of a server that joins what is streamed to it."""

    def up(requests: Iterator[Any], context: grpc.ServicerContext) -> Any:
        texts = []
        for request in requests:
            if request.text == "stop":
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as reported")
            texts.append(request.text)
        return tokens(texts)

    def both(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        for request in requests:
            if request.text == "stop":
                context.abort(grpc.StatusCode.FAILED_PRECONDITION, "as reported")
            yield tokens([request.text])

    texts = _pb.text_generation_service_pb2
    codec = (texts.TokenizeRequest.FromString, texts.TokenizeResponse.SerializeToString)
    handlers = {
        "Up": grpc.stream_unary_rpc_method_handler(up, *codec),
        "Both": grpc.stream_stream_rpc_method_handler(both, *codec),
    }
    server = grpc.server(futures.ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("yandex.cloud.ai.stt.v3.Words", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_requests_are_streamed(subject: Any, streaming: str) -> None:
    client = subject.client(endpoint=streaming, plaintext=True)
    joined = subject(client.call(UP, words("a", "b", "c")))
    assert [token.text for token in joined.tokens] == ["a", "b", "c"]
    assert [one.tokens[0].text for one in subject(client.call(BOTH, iter(words("x", "y"))))] == ["x", "y"]


def test_requests_may_come_asynchronously(subject: Any, streaming: str) -> None:
    if subject.kind == "sync":
        pytest.skip("of the asyncio client")
    client = subject.client(endpoint=streaming, plaintext=True)

    async def arriving() -> Any:
        for word in words("a", "b"):
            yield word

    assert len(subject(client.call(UP, arriving())).tokens) == 2
    assert len(subject(client.call(BOTH, arriving()))) == 2


@pytest.mark.parametrize("method", [UP, BOTH])
def test_wrong_request_in_the_stream_is_reported(subject: Any, streaming: str, method: Any) -> None:
    client = subject.client(endpoint=streaming, plaintext=True)
    wrong: list[Any] = [*words("a"), _pb.operation_pb2.Operation()]
    with pytest.raises(yagrpc.RequestError, match=r"it takes a yandex\..*TokenizeRequest"):
        subject(client.call(method, wrong))
    with pytest.raises(yagrpc.RequestError, match="requests is 5"):
        subject(client.call(method, 5))


def test_failure_of_the_request_iterator_is_raised(subject: Any, streaming: str) -> None:
    client = subject.client(endpoint=streaming, plaintext=True)

    def failing() -> Iterator[Any]:
        yield from words("a")
        raise LookupError("of the caller's own")

    for method in (UP, BOTH):
        with pytest.raises(LookupError, match="of the caller's own"):
            subject(client.call(method, failing()))


def test_a_stream_of_both_that_is_refused(subject: Any, streaming: str) -> None:
    client = subject.client(endpoint=streaming, plaintext=True)
    with pytest.raises(yagrpc.FailedPreconditionError, match="as reported"):
        # Nothing after it: grpc.aio gives a status of its own to a call that is refused while a request is written.
        subject(client.call(BOTH, words("a", "stop")))
    unserved = yagrpc.ClientStreamMethod[Any, Any]("/yandex.cloud.ai.stt.v3.Words/Down", **_TYPES)
    with pytest.raises(yagrpc.UnimplementedError):
        subject(client.call(unserved, words("a")))


@pytest.mark.parametrize("method", [UP, BOTH])
def test_refusal_while_requests_are_written_is_raised_unchanged(subject: Any, streaming: str, method: Any) -> None:
    client = subject.client(endpoint=streaming, plaintext=True)
    refused = words("a", "stop", *"bcdefgh")
    for _ in range(100):  # of three such calls, one meets the refusal in a write
        with pytest.raises(yagrpc.FailedPreconditionError, match="as reported"):
            subject(client.call(method, refused))


def test_metadata_of_an_operation_is_unpacked(subject: Any, served: Any) -> None:
    def get(request: Any, context: Any) -> Any:
        operation = _pb.operation_pb2.Operation(id=request.operation_id, done=True)
        operation.metadata.Pack(_pb.text_generation_service_pb2.BatchCompletionMetadata(task_id="t1", total_batches=3))
        operation.response.Pack(_pb.text_generation_service_pb2.BatchCompletionResponse(result_dataset_id="d1"))
        return operation

    client = subject.client(endpoint=served.start(get=get).address, plaintext=True)
    batch = client.operation("op1", methods.TextGenerationBatchService.Completion)
    assert subject(batch.result()).result_dataset_id == "d1"
    assert (batch.metadata.task_id, batch.metadata.total_batches) == ("t1", 3)
    other = client.operation("op1", _pb.text_generation_service_pb2.BatchCompletionResponse)
    subject(other.refresh())
    assert other.metadata == batch.metadata
    assert other.response == subject(other.result())


def test_a_generated_package_of_ones_own_is_called(
    subject: Any, client: Any, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    from yagrpc.codegen import generate

    package = f"own_{subject.kind}"
    service = "yandex/cloud/ai/foundation_models/v1/text_generation/text_generation_service.proto"
    generate([Path(__file__).parents[2] / "proto"], tmp_path, package, [service])
    monkeypatch.syspath_prepend(tmp_path)
    __import__(f"{package}.methods")
    own = sys.modules[f"{package}.methods"].TextGenerationAsyncService.Completion
    request = own.request_type(model_uri="gpt://f/m", messages=[{"role": "user", "text": "from my own stubs"}])
    operation = subject(client.call(own, request))
    emulator.advance(3600)
    response = subject(operation.result(timeout=10))
    assert type(response) is own.response_type
    assert type(response) is not _pb.text_generation_service_pb2.CompletionResponse
    assert "from my own stubs" in response.alternatives[0].message.text
    assert type(operation.response) is own.response_type
    # The same rpc of another package, over the same client, gives that package's types.
    ours = methods.TextGenerationAsyncService.Completion
    operation = subject(client.call(ours, request))
    emulator.advance(3600)
    assert type(subject(operation.result(timeout=10))) is ours.response_type
    tokens = {
        table.Tokenize: table.Tokenize.request_type(model_uri="gpt://f/m", text="a b")
        for table in (methods.TokenizerService, sys.modules[f"{package}.methods"].TokenizerService)
    }
    for method, asked in tokens.items():
        assert type(subject(client.call(method, asked))) is method.response_type


def test_with_a_plaintext_endpoint_everything_is_served_there(subject: Any, streaming: str) -> None:
    client = subject.client(endpoint=streaming, plaintext=True)
    assert len(subject(client.call(UP, words("a"))).tokens) == 1


def test_endpoints_can_be_given(subject: Any, streaming: str, emulator: Emulator) -> None:
    client = subject.client(emulator, endpoints={"yandex.cloud.ai.stt": streaming})
    assert len(subject(client.call(UP, words("a"))).tokens) == 1
    assert not emulator.calls
    with pytest.raises(yagrpc.ConfigError, match=r"endpoints\['x'\] is 'nonsense'"):
        subject.client(endpoints={"x": "nonsense"})
    with pytest.raises(yagrpc.ConfigError, match="loopback only"):
        subject.client(emulator, endpoints={"x": "example.com:443"})


def test_paths_are_those_of_the_service() -> None:
    """The emulator's are written out by hand, so that a table that is wrong can't agree with it."""
    assert methods.TextGenerationAsyncService.Completion.path == paths.COMPLETION_ASYNC
    assert methods.OperationService.Get.path == paths.OPERATION_GET
    assert methods.TokenizerService.TokenizeCompletion.path == paths.TOKENIZE_COMPLETION

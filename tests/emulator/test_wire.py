"""What a call leaves behind: headers, counters, the requests; discovery; what is not served."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.clock import END
from yagrpc.emulator.received import KEPT
from yagrpc.emulator.services.endpoints import ENDPOINT_IDS

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Service

List = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest
Get = _pb.api_endpoint_service_pb2.GetApiEndpointRequest


def test_answers_carry_the_service_headers(service: Service, ask: Ask) -> None:
    seen: set[str] = set()
    for metadata in ((), (("x-client-request-id", "mine"),)):
        call = service.text.Completion(ask("ping"), metadata=metadata)
        headers = {key: str(value) for key, value in call.initial_metadata()}
        assert headers.get("x-client-request-id") == ("mine" if metadata else None)
        for key in ("x-request-id", "x-server-trace-id"):
            assert uuid.UUID(headers[key]).version == 4
            seen.add(headers[key])
        assert len(list(call)) == 1
    assert len(seen) == 4


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"), (END, "Fri, 31 Dec 9999 23:59:59 GMT")],
)
def test_answers_carry_the_date_of_the_emulators_clock(
    emulate: Emulate, ask: Ask, refused: Refused, moment: float, expected: str
) -> None:
    service = emulate(frozen=True)
    service.emulator.set_time(moment)
    call = service.text.Completion(ask("ping"))
    assert dict(call.initial_metadata())["date"] == expected
    assert len(list(call)) == 1
    assert refused(service.text.Completion, ask("")).initial_metadata["date"] == expected


def test_a_get_of_an_operation_has_them_behind_the_message(service: Service, ask: Ask) -> None:
    submitted, call = service.text_async.Completion.with_call(ask("ping"))
    assert dict(call.initial_metadata())["x-request-id"]
    wanted = _pb.operation_service_pb2.GetOperationRequest(operation_id=submitted.id)
    _, call = service.operations.Get.with_call(wanted, metadata=(("x-client-request-id", "mine"),))
    trailing = dict(call.trailing_metadata())
    assert uuid.UUID(str(trailing["x-request-id"])).version == 4
    assert trailing["x-client-request-id"] == "mine"
    refusal = (("x-client-request-id", "mine"),)
    with pytest.raises(grpc.RpcError) as caught:
        service.operations.Get(_pb.operation_service_pb2.GetOperationRequest(), metadata=refusal)
    assert isinstance(caught.value, grpc.Call)
    assert dict(caught.value.initial_metadata())["x-client-request-id"] == "mine"


def test_the_busiest_second_slides(service: Service, ask: Ask) -> None:
    service.emulator.freeze()
    for step in (0.5, 0.4, 0.2, 5, 0.9, 0.2, 0.0):
        service.complete(ask("ping"))
        service.emulator.advance(step)
    assert service.emulator.most_in_a_second == {paths.COMPLETION: 3}
    assert service.emulator.generations == {paths.COMPLETION: 7}


def test_refusals_carry_them_too(service: Service, refused: Refused) -> None:
    request = _pb.text_generation_service_pb2.CompletionRequest()
    refusal = refused(service.text.Completion, request, metadata=(("x-client-request-id", "mine"),))
    assert refusal.initial_metadata["x-client-request-id"] == "mine"
    assert refusal.initial_metadata["x-request-id"]


def test_requests_are_kept_with_their_metadata(service: Service, ask: Ask) -> None:
    sent = [("authorization", "Api-Key secret"), ("x-data-logging-enabled", "false"), ("x-some-bin", b"\x00")]
    service.complete(ask("ping"), metadata=sent)
    (received,) = service.emulator.requests
    assert received.path == paths.COMPLETION
    assert received.request == ask("ping")
    assert dict(sent).items() <= received.metadata.items()
    assert "secret" not in repr(received)


def test_requests_have_the_time_of_their_arrival(service: Service, ask: Ask) -> None:
    service.complete(ask("ping"))
    service.emulator.advance(100)
    service.complete(ask("ping"))
    first, second = (received.at for received in service.emulator.requests)
    assert 100 <= second - first < 110
    assert second <= service.emulator.now()


def test_thousands_that_wait_are_all_served_and_the_last_are_kept(emulate: Emulate, ask: Ask) -> None:
    # By default gRPC cancels random calls when more than 1000 wait, and all when more than 3000 wait.
    go_on = threading.Event()
    service = emulate(duration=lambda random: float(not go_on.wait()))  # called in the thread that serves all calls
    first = service.text_async.Completion.future(ask("first"))
    waiting: list[Any] = [service.endpoints.Get.future(Get(api_endpoint_id="iam")) for _ in range(4000)]
    go_on.set()
    assert {call.code() for call in [first, *waiting]} == {grpc.StatusCode.OK}
    assert len(service.emulator.requests) == KEPT
    assert service.emulator.calls[paths.ENDPOINT_GET] == len(waiting)


def test_what_was_counted_stands_still(service: Service, ask: Ask) -> None:
    calls, refusals, requests = service.emulator.calls, service.emulator.refusals, service.emulator.requests
    service.complete(ask("ping"))
    assert (calls, refusals, requests) == ({}, {}, [])
    assert service.emulator.calls == {paths.COMPLETION: 1}
    assert service.emulator.refusals.total() == 0


def test_discovery_names_this_emulator(service: Service) -> None:
    response = service.endpoints.List(List())
    assert {endpoint.address for endpoint in response.endpoints} == {service.emulator.address}
    ids = [endpoint.id for endpoint in response.endpoints]
    assert ids == list(ENDPOINT_IDS)
    assert {"endpoint", "iam", "operation", "ai-foundation-models"} <= set(ids)
    assert response.next_page_token == ""
    assert service.endpoints.Get(Get(api_endpoint_id="iam")) == response.endpoints[ids.index("iam")]


def test_another_endpoint_is_not_found(service: Service, refused: Refused) -> None:
    refusal = refused(service.endpoints.Get, Get(api_endpoint_id="no-such"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


def test_what_is_not_served_is_unimplemented_and_counted(service: Service, refused: Refused) -> None:
    refusal = refused(service.batch.Completion, _pb.text_generation_service_pb2.BatchCompletionRequest())
    assert refusal.code is grpc.StatusCode.UNIMPLEMENTED
    path = "/yandex.cloud.ai.foundation_models.v1.TextGenerationBatchService/Completion"
    assert service.emulator.calls == {path: 1}
    assert service.emulator.refusals == {(path, grpc.StatusCode.UNIMPLEMENTED): 1}


def test_services_of_others_are_not_counted(service: Service, refused: Refused) -> None:
    check: Any = service.channel.unary_unary("/grpc.some.v1.Service/Check", lambda request: b"")
    assert refused(check, "").code is grpc.StatusCode.UNIMPLEMENTED
    assert service.emulator.calls == {}


def test_paths_are_those_of_the_definitions(emulate: Emulate) -> None:
    written = {value for name, value in vars(paths).items() if name in paths.__all__ and isinstance(value, str)}
    written.discard(paths.CLOUD)
    defined = {
        f"/{service.full_name}/{method.name}"
        for module in (
            _pb.text_generation_service_pb2,
            _pb.embedding_service_pb2,
            _pb.text_classification_service_pb2,
            _pb.image_generation_service_pb2,
            _pb.operation_service_pb2,
            _pb.api_endpoint_service_pb2,
            _pb.iam_token_service_pb2,
        )
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if service.name != "TextGenerationBatchService"
    }
    assert written == defined

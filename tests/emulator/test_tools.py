"""Reflection and health, asked as grpcurl-like tools ask: services are listed, described from our pool, and healthy."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    proto_reflection_descriptor_database,
    reflection_pb2,
)

from yagrpc import _pb
from yagrpc.emulator import paths
from yagrpc.emulator.rpc.tools import SERVED

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused, Service


@pytest.fixture
def described(service: Service) -> Any:
    """A tool's view: what reflection describes, and nothing that is installed here."""
    return proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(service.channel)


def test_the_services_are_listed(described: Any) -> None:
    listed = set(described.get_services())
    assert listed == {*SERVED, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    assert "yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService" in listed
    assert "yandex.cloud.operation.OperationService" in listed
    assert "yandex.cloud.ai.foundation_models.v1.TextGenerationBatchService" not in listed, "it is not served"


def test_the_control_service_is_listed_where_it_is_served(emulate: Emulate) -> None:
    service = emulate(control=True)
    database = proto_reflection_descriptor_database.ProtoReflectionDescriptorDatabase(service.channel)
    assert "yagrpc.emulator.v1.ControlService" in set(database.get_services())


def test_every_service_is_described_with_its_messages(described: Any) -> None:
    pool = DescriptorPool(described)
    methods = set()
    for name in described.get_services():
        service = pool.FindServiceByName(name)
        for method in service.methods:
            assert method.input_type.full_name
            methods.add(f"/{name}/{method.name}")
    served = {value for name in paths.__all__ if isinstance(value := getattr(paths, name), str)} - {paths.CLOUD}
    assert served <= methods
    assert "/grpc.health.v1.Health/Check" in methods
    request = pool.FindMessageTypeByName("yandex.cloud.ai.foundation_models.v1.CompletionRequest")
    ours = _pb.text_generation_service_pb2.CompletionRequest.DESCRIPTOR
    assert [field.name for field in request.fields] == [field.name for field in ours.fields]


def test_a_call_can_be_built_from_what_is_described(service: Service, described: Any, ask: Ask) -> None:
    method = (
        DescriptorPool(described)
        .FindServiceByName("yandex.cloud.ai.foundation_models.v1.TokenizerService")
        .methods_by_name["TokenizeCompletion"]
    )
    request = message_factory.GetMessageClass(method.input_type)()
    request.MergeFromString(ask("ping").SerializeToString())
    response_type: Any = message_factory.GetMessageClass(method.output_type)
    call: Any = service.channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=response_type.FromString,
    )
    assert len(call(request).tokens) == 15


def test_the_files_of_health_and_reflection_are_in_our_pool(service: Service) -> None:
    for module, package in ((health_pb2, "grpc.health.v1"), (reflection_pb2, "grpc.reflection.v1alpha")):
        assert _pb.POOL.FindFileByName(module.DESCRIPTOR.name).package == package


@pytest.mark.parametrize("name", ["", *SERVED])
def test_everything_is_healthy(service: Service, name: str) -> None:
    stub = health_pb2_grpc.HealthStub(service.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=name))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert service.emulator.calls == {}, "it is no call of the emulated service's"


def test_health_can_be_watched_and_an_unknown_service_is_not_found(service: Service, refused: Refused) -> None:
    stub = health_pb2_grpc.HealthStub(service.channel)
    watched = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()
    refusal = refused(stub.Check, health_pb2.HealthCheckRequest(service="no.Such"))
    assert refusal.code is grpc.StatusCode.NOT_FOUND


def test_credentials_and_a_second_start_do_not_matter(emulate: Emulate) -> None:
    service = emulate(auth={"Api-Key secret"})
    service.emulator.stop()
    service.emulator.start()
    stub = health_pb2_grpc.HealthStub(service.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=""), wait_for_ready=True)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


WITHOUT = """
import importlib.util, sys
real = importlib.util.find_spec
missing = ("grpc_health", "grpc_reflection", "cryptography", "yaml")
importlib.util.find_spec = lambda name, *rest: None if name in missing else real(name, *rest)
from yagrpc.emulator import Emulator
import grpc
from yagrpc import _pb
with Emulator() as emulator, grpc.insecure_channel(emulator.address) as channel:
    request = _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://f/m", text="ping")
    stub = _pb.text_generation_service_pb2_grpc.TokenizerServiceStub(channel)
    print(len(stub.Tokenize(request).tokens))
    try:
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"")
    except grpc.RpcError as error:
        print(error.code().name)
try:
    Emulator(tls=True)
except ValueError as error:
    print(error)
print(*(name for name in ("grpc_health.v1", "grpc_reflection.v1alpha", *missing[2:]) if name in sys.modules))
"""


def test_without_the_extra_the_emulator_serves_all_the_same() -> None:
    done = subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "1",
        "UNIMPLEMENTED",
        "tls needs cryptography: pip install 'yagrpc[emulator]'",
        "",
    ]

"""Endpoint discovery that lies: the credentials stay here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc.emulator.tls import Certificates

KIND = f"{_pb.text_generation_service_pb2.__name__}:TokenizeRequest"
METHOD: Any = yagrpc.UnaryMethod("/yandex.cloud.quantum.v1.DotService/Get", request=KIND, response=KIND)


class Lying:
    """A discovery endpoint with TLS that gives one address, and the method that is sought; it keeps the credentials."""

    def __init__(self) -> None:
        self.given = ""
        self.credentials: list[str] = []
        self._lock = threading.Lock()
        certificates = Certificates("127.0.0.1")
        self.roots = Path(certificates.ca_file).read_bytes()
        self._server = grpc.server(futures.ThreadPoolExecutor(2))
        endpoints: Any = _pb.api_endpoint_service_pb2_grpc
        servicer = endpoints.ApiEndpointServiceServicer()
        servicer.List = self._list
        endpoints.add_ApiEndpointServiceServicer_to_server(servicer, self._server)
        handlers: Any = {"Get": grpc.unary_unary_rpc_method_handler(self._get)}
        service = METHOD.service
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = self._server.add_secure_port("127.0.0.1:0", certificates.credentials())
        self._server.start()

    def close(self) -> None:
        """Stop."""
        self._server.stop(None).wait()

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        there = _pb.api_endpoint_pb2.ApiEndpoint(id="quantum", address=self.given)
        return _pb.api_endpoint_service_pb2.ListApiEndpointsResponse(endpoints=[there])

    def _get(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.credentials += [str(value) for key, value in context.invocation_metadata() if key == "authorization"]
        return b""


@pytest.fixture
def lying() -> Iterator[Lying]:
    """A discovery endpoint that gives what a test says."""
    found = Lying()
    yield found
    found.close()


@pytest.mark.parametrize(
    ("address", "believed"),
    [("127.0.0.1:{port}", False), ("unix:{port}", False), ("", False), ("localhost:{port}", True)],
)
def test_a_credential_goes_to_the_domain_of_discovery_only(
    subject: Any, lying: Lying, address: str, believed: bool
) -> None:
    lying.given = address.format(port=lying.port)
    client = subject.client(
        root_certificates=lying.roots, endpoints={"yandex.cloud.endpoint": f"localhost:{lying.port}"}
    )
    request = _pb.text_generation_service_pb2.TokenizeRequest()
    if believed:
        subject(client.call(METHOD, request, timeout=30))
        assert lying.credentials == ["Api-Key secret"]
        return
    with pytest.raises(yagrpc.ConfigError, match=f"endpoint discovery at localhost:{lying.port} is "):
        subject(client.call(METHOD, request, timeout=30))
    assert lying.credentials == []

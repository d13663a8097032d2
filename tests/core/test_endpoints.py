"""Where services are served: the table of the public cloud, what the caller gives, and what discovery gives."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from yagrpc import config
from yagrpc._core.endpoints.directory import Directory, discovery_ids, longest, served_by
from yagrpc._core.endpoints.public import SERVICES
from yagrpc.errors import ConfigError

FACTS = "YAGRPC_DISCOVERY_FACTS"
"""Names a JSON file: `hosts` has the address of each service, `listed` the ids that endpoint discovery lists."""

ELSEWHERE = {"yandex.cloud.endpoint": "api.yandexcloud.kz:443"}
"""The endpoint of another installation's discovery."""


def directory(given: Mapping[str, str] | None = None, **settings: Any) -> Directory:
    """The endpoints of a client with some settings."""
    endpoints, _ = config.resolve_endpoints(
        settings.get("endpoint"), None, plaintext=settings.get("plaintext", False), environment={}
    )
    return Directory(endpoints, given or {})


@pytest.fixture(scope="module")
def facts() -> dict[str, dict[str, str]]:
    """Where the official SDKs find the services."""
    path = os.environ.get(FACTS)
    if not path:
        pytest.skip(f"{FACTS} is not set")
    found: dict[str, dict[str, str]] = json.loads(Path(path).read_text("utf-8"))
    return found


def with_port(address: str) -> str:
    """The address with its port, which the facts leave out at times."""
    return address if ":" in address else f"{address}:443"


def test_every_service_of_the_cloud_is_found_where_the_official_sdk_finds_it(
    facts: dict[str, dict[str, str]],
) -> None:
    client = directory()
    expected = {service: with_port(address) for service, address in facts["hosts"].items()}
    assert len(expected) > 340
    assert {service: client.address(service) for service in expected} == expected
    assert all(client.knows(service) for service in expected)


def test_the_ids_of_the_table_are_those_that_discovery_lists(facts: dict[str, dict[str, str]]) -> None:
    listed = facts["listed"]
    named = {served for served in SERVICES.values() if served.id in listed}
    differing = {served.id for served in named if listed[served.id] != served.address}
    assert len(named) > 80
    assert differing == set()
    assert {served.id for served in SERVICES.values()} - listed.keys() == {
        "",
        "ai-tts",
        "datacatalog",
        "speechsense",
        "ycvc",
    }


@pytest.mark.parametrize(
    ("service", "address"),
    [
        ("speechkit.stt.v3.Recognizer", "stt.api.cloud.yandex.net:443"),
        ("yandex.cloud.ai.stt.v2.SttService", "transcribe.api.cloud.yandex.net:443"),
        ("yandex.cloud.ai.ocr.v1.TextRecognitionService", "ocr.api.cloud.yandex.net:443"),
        ("yandex.cloud.loadbalancer.v1.NetworkLoadBalancerService", "load-balancer.api.cloud.yandex.net:443"),
        ("yandex.cloud.mdb.kafka.v1.TopicService", "mdb.api.cloud.yandex.net:443"),
        ("yandex.cloud.baremetal.v1alpha.ServerService", "baremetal.api.cloud.yandex.net:443"),
        ("yandex.cloud.kms.v1.SymmetricKeyService", "kms.api.cloud.yandex.net:443"),
        ("yandex.cloud.kms.v1.SymmetricCryptoService", "kms.yandex:443"),
        ("yandex.cloud.lockbox.v1.PayloadService", "payload.lockbox.api.cloud.yandex.net:443"),
        ("yandex.cloud.logging.v1.SinkService", "logging.api.cloud.yandex.net:443"),
        ("yandex.cloud.logging.v1.LogReadingService", "reader.logging.yandexcloud.net:443"),
        ("yandex.cloud.storage.v1.BucketService", "storage.api.cloud.yandex.net:443"),
        ("yandex.cloud.ai.foundation_models.v1.TokenizerService", "llm.api.cloud.yandex.net:443"),
    ],
)
def test_services_of_the_public_cloud_need_no_discovery(service: str, address: str) -> None:
    client = directory()
    assert client.knows(service)
    assert client.address(service) == address


def test_every_address_of_the_table_can_be_called() -> None:
    for name, served in SERVICES.items():
        config.check_given_endpoint(name, served.address, plaintext=False)


@pytest.mark.parametrize("service", ["yandex.cloud.computers.v1.Service", "yandex.cloud.quantum.v1.DotService"])
def test_a_service_that_the_table_does_not_know_is_searched_by_discovery(service: str) -> None:
    client = directory()
    assert not client.knows(service)
    client.learn([("computers", "computers.api.cloud.yandex.net:443"), ("quantum", "quantum.api.cloud.yandex.net:443")])
    assert client.address(service) == f"{service.split('.')[2]}.api.cloud.yandex.net:443"


def test_what_the_caller_gives_wins_over_the_table() -> None:
    client = directory(
        {"yandex.cloud.kms": "keys.example:443", "yandex.cloud.vpc.v1.NetworkService": "vpc.example:443"}
    )
    assert client.address("yandex.cloud.kms.v1.SymmetricCryptoService") == "keys.example:443"
    assert client.address("yandex.cloud.vpc.v1.NetworkService") == "vpc.example:443"
    assert client.address("yandex.cloud.vpc.v1.SubnetService") == "vpc.api.cloud.yandex.net:443"


def test_another_installation_is_asked_for_its_own_endpoints() -> None:
    client = directory(ELSEWHERE)
    assert not client.knows("yandex.cloud.kms.v1.SymmetricCryptoService")
    client.learn([("kms", "kms.yandexcloud.kz:443"), ("kms-crypto", "crypto.kms.yandexcloud.kz:443")])
    assert client.address("yandex.cloud.kms.v1.SymmetricKeyService") == "kms.yandexcloud.kz:443"
    assert client.address("yandex.cloud.kms.v1.SymmetricCryptoService") == "crypto.kms.yandexcloud.kz:443"


def test_ids_are_the_tables_first() -> None:
    assert discovery_ids("yandex.cloud.mdb.kafka.v1.TopicService") == ["managed-kafka", "mdb-kafka", "mdb", "kafka"]
    assert discovery_ids("yandex.cloud.quantum.dots.v3.Dots") == ["quantum-dots", "quantum", "dots"]


def test_with_plaintext_everything_is_at_one_address() -> None:
    client = directory(endpoint="127.0.0.1:50051", plaintext=True)
    assert client.address("yandex.cloud.kms.v1.SymmetricCryptoService") == "127.0.0.1:50051"


def test_the_longest_name_counts_in_whole_parts() -> None:
    table = {"a": 1, "a.b": 2, "a.b.c": 3}
    assert longest(table, "a.b.cc.D") == ("a.b", 2)
    assert longest(table, "ab.C") is None
    assert longest(table, "a.b.c") == ("a.b.c", 3)


# What discovery gives is not believed blindly: the credentials go there


def given_by_discovery(address: str, discovery: str = "api.cloud.yandex.net:443") -> Directory:
    """The endpoints of a client whom discovery has given one address, of the service `quantum`."""
    client = directory({"yandex.cloud.endpoint": discovery})
    client.learn([("quantum", address), ("dots", "dots.api.cloud.yandex.net:443")])
    return client


@pytest.mark.parametrize(
    "address",
    [
        "", " ", "quantum.api.cloud.yandex.net", "https://quantum.api.cloud.yandex.net:443",
        "unix:/tmp/socket", "unix:1", "\x1b[31mquantum.cloud.yandex.net:443",
        "quantum.api.cloud.yandex.net:443/path", "user@quantum.api.cloud.yandex.net:443",
        "quantum.api.cloud.yandex.net:0", "quantum.api.cloud.yandex.net:443\n", "[::1]",
    ],
)  # fmt: skip
def test_an_address_of_discovery_that_is_none_is_refused(address: str) -> None:
    client = given_by_discovery(address)
    with pytest.raises(
        ConfigError, match=r"endpoint discovery at api\.cloud\.yandex\.net:443 is wrong: it gives"
    ) as caught:
        client.address("yandex.cloud.quantum.v1.Service")
    assert repr(address) in str(caught.value)
    assert "give endpoints={'yandex.cloud.quantum.v1.Service': 'host:443'}" in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "address",
    [
        "evil.example:443", "evilcloud.yandex.net:443", "yandex.net:443", "cloud.yandex.net.evil.example:443",
        "127.0.0.1:443", "[::1]:443", "localhost:443", "kms.yandex:443",
    ],
)  # fmt: skip
def test_an_address_of_discovery_in_another_domain_is_refused(address: str) -> None:
    client = given_by_discovery(address)
    with pytest.raises(
        ConfigError, match=r"is not believed: .*, which is outside of cloud\.yandex\.net; if you trust it"
    ):
        client.address("yandex.cloud.quantum.v1.Service")
    assert client.address("yandex.cloud.dots.v1.Service") == "dots.api.cloud.yandex.net:443"


@pytest.mark.parametrize(
    ("discovery", "address"),
    [
        ("api.cloud.yandex.net:443", "quantum.api.cloud.yandex.net:443"),
        ("api.cloud.yandex.net:443", "Serial.Cloud.Yandex.NET:9600"),
        ("api.yandexcloud.kz:443", "quantum.api.yandexcloud.kz:443"),
        ("API.yandexcloud.kz:443", "yandexcloud.kz:443"),
        ("localhost:8443", "localhost:443"),
        ("10.0.0.1:8443", "10.0.0.1:443"),
        ("[fd00::1]:8443", "[fd00::1]:443"),
        ("example.com:443", "quantum.example.com:443"),
    ],
)
def test_an_address_of_discovery_in_its_own_domain_is_taken(discovery: str, address: str) -> None:
    assert given_by_discovery(address, discovery).address("yandex.cloud.quantum.v1.Service") == address


@pytest.mark.parametrize(
    ("discovery", "address"),
    [("localhost:443", "127.0.0.1:443"), ("10.0.0.1:443", "10.0.0.2:443"), ("example.com:443", "example.org:443")],
)
def test_a_discovery_endpoint_without_a_domain_stands_for_itself(discovery: str, address: str) -> None:
    with pytest.raises(ConfigError, match="is not believed"):
        given_by_discovery(address, discovery).address("yandex.cloud.quantum.v1.Service")


@pytest.mark.parametrize("host", ["unix", "dns", "IPv4", "xds"])
def test_a_host_that_grpc_takes_for_a_scheme_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="for a scheme, not for a host"):
        directory(endpoint=f"{host}:443")


@pytest.mark.parametrize(
    ("service", "endpoint"),
    [
        ("yandex.cloud.ai.foundation_models.v1.TextGenerationService", "model"),
        ("yandex.cloud.ai.tuning.v1.TuningService", "model"),
        ("yandex.cloud.operation.OperationService", "operation"),
        ("yandex.cloud.iam.v1.IamTokenService", "iam"),
        ("yandex.cloud.endpoint.ApiEndpointService", "discovery"),
        ("yandex.cloud.ai.stt.v3.Recognizer", ""),
        ("yandex.cloud.iamb.v1.IamTokenService", ""),
        ("", ""),
    ],
)
def test_the_services_of_every_client_have_an_endpoint(service: str, endpoint: str) -> None:
    assert served_by(service) == endpoint

"""Where services are served: the table of the public cloud, what the caller gives, and what discovery gives."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from yagrpc import config
from yagrpc._core.endpoints.directory import Directory, discovery_ids
from yagrpc._core.endpoints.public import SERVICES, longest

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

"""The facts about each rpc, pinned for every one of our protos."""

from __future__ import annotations

from typing import Any

import pytest

from yagrpc import _pb, methods
from yagrpc._core.call.policy import ATTEMPTS, POLICIES, Kind, Policy, policy_of
from yagrpc.config import Quota
from yagrpc.method import BidiStreamMethod, ClientStreamMethod, HttpRule, OperationMethod, StreamMethod, UnaryMethod

SUBMITS = ("submit_per_second", "submit_per_hour")
IMAGES = ("images_per_minute", "images_per_day")
CLASSIFY = ("classification_per_second",)
TOKENIZE = ("tokenize_per_second",)

PINNED = {
    "ApiEndpointService.Get": (Kind.READ, (), 60.0, "discovery", False),
    "ApiEndpointService.List": (Kind.READ, (), 60.0, "discovery", False),
    "EmbeddingsService.TextEmbedding": (Kind.READ, ("embeddings_per_second",), 60.0, "model", True),
    "IamTokenService.Create": (Kind.READ, (), 60.0, "iam", False),
    "IamTokenService.CreateForServiceAccount": (Kind.OTHER, (), 60.0, "iam", True),
    "IamTokenService.Revoke": (Kind.OTHER, (), 60.0, "iam", True),
    "ImageGenerationAsyncService.Generate": (Kind.GENERATION, IMAGES, 60.0, "model", True),
    "OperationService.Cancel": (Kind.READ, (), 60.0, "operation", True),
    "OperationService.Get": (Kind.READ, (), 10.0, "operation", True),
    "TextClassificationService.Classify": (Kind.READ, CLASSIFY, 60.0, "model", True),
    "TextClassificationService.FewShotClassify": (Kind.READ, CLASSIFY, 60.0, "model", True),
    "TextGenerationAsyncService.Completion": (Kind.GENERATION, SUBMITS, 60.0, "model", True),
    "TextGenerationBatchService.Completion": (Kind.GENERATION, (), 60.0, "model", True),
    "TextGenerationService.Completion": (Kind.GENERATION, ("concurrent_completions",), 180.0, "model", True),
    "TokenizerService.Tokenize": (Kind.READ, TOKENIZE, 60.0, "model", True),
    "TokenizerService.TokenizeCompletion": (Kind.READ, TOKENIZE, 60.0, "model", True),
}
"""Kind, quotas, default timeout in seconds, endpoint and credential, by service and rpc."""


def our_methods() -> dict[str, Any]:
    """Every rpc of our protos."""
    return {
        f"{name}.{rpc}": method
        for name in _pb.methods._SERVICES.keys() - {"ControlService"}  # the emulator's, which no user calls
        for rpc, method in vars(getattr(methods, name)).items()
        if not rpc.startswith("_")
    }


def test_every_rpc_is_pinned() -> None:
    found = {name: policy_of(method) for name, method in our_methods().items()}
    assert {name: tuple(policy)[:5] for name, policy in found.items()} == PINNED
    assert {policy.attempts for policy in found.values()} == {ATTEMPTS} == {5}


def test_reads_are_those_that_start_nothing() -> None:
    kinds = {name: policy_of(method).kind for name, method in our_methods().items()}
    assert sorted(name for name, kind in kinds.items() if kind is Kind.READ) == [
        "ApiEndpointService.Get",
        "ApiEndpointService.List",
        "EmbeddingsService.TextEmbedding",
        "IamTokenService.Create",
        "OperationService.Cancel",
        "OperationService.Get",
        "TextClassificationService.Classify",
        "TextClassificationService.FewShotClassify",
        "TokenizerService.Tokenize",
        "TokenizerService.TokenizeCompletion",
    ]
    assert sorted(name for name, kind in kinds.items() if kind is not Kind.READ) == [
        "IamTokenService.CreateForServiceAccount",
        "IamTokenService.Revoke",
        "ImageGenerationAsyncService.Generate",
        "TextGenerationAsyncService.Completion",
        "TextGenerationBatchService.Completion",
        "TextGenerationService.Completion",
    ]


def test_every_row_is_an_rpc_of_ours() -> None:
    assert POLICIES.keys() <= {method.path for method in our_methods().values()}


def test_every_quota_is_a_field_of_the_settings() -> None:
    limited = {name for policy in POLICIES.values() for name in policy.quotas}
    assert limited == set(Quota._fields) - {"get_per_second"}  # which the scheduler keeps


def test_what_limits_rpcs_is_either_the_same_or_apart() -> None:
    """A quota in two queues would be used up twice."""
    sets = {policy.quotas for policy in POLICIES.values()}
    names = [name for quotas in sets for name in quotas]
    assert len(names) == len(set(names))


# Without a row


def other(kind: Any = UnaryMethod, path: str = "/a.Service/Rpc", verb: str = "") -> Any:
    """A method that nobody knows."""
    further = {"operation": "a:D"} if kind is OperationMethod else {}
    http = HttpRule(verb, "/path") if verb else None
    return kind(path, request="a:B", response="a:C", http=http, **further)


@pytest.mark.parametrize(("verb", "read"), [("GET", True), ("POST", False), ("DELETE", False), ("", False)])
def test_an_unknown_method_is_a_read_where_rest_says_so(verb: str, read: bool) -> None:
    assert policy_of(other(verb=verb)).kind is (Kind.READ if read else Kind.OTHER)


@pytest.mark.parametrize("verb", ["GET", "POST", ""])
def test_an_unknown_method_that_gives_an_operation_generates(verb: str) -> None:
    assert policy_of(other(OperationMethod, verb=verb)) == Policy(Kind.GENERATION, endpoint="")


@pytest.mark.parametrize(
    ("kind", "timeout"),
    [(UnaryMethod, 60.0), (ClientStreamMethod, 60.0), (StreamMethod, 180.0), (BidiStreamMethod, 180.0)],
)
def test_an_unknown_method_has_the_timeout_of_its_kind(kind: Any, timeout: float) -> None:
    assert policy_of(other(kind)) == Policy(Kind.OTHER, timeout=timeout, endpoint="")


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/yandex.cloud.ai.foundation_models.v9.NewService/Rpc", "model"),
        ("/yandex.cloud.ai.tuning.v1.TuningService/Tune", "model"),
        ("/yandex.cloud.operation.Other/Rpc", "operation"),
        ("/yandex.cloud.iam.v1.Other/Rpc", "iam"),
        ("/yandex.cloud.endpoint.Other/Rpc", "discovery"),
        ("/yandex.cloud.compute.v1.InstanceService/Get", ""),
    ],
)
def test_an_unknown_method_takes_the_endpoint_of_its_package(path: str, endpoint: str) -> None:
    assert policy_of(other(path=path)).endpoint == endpoint

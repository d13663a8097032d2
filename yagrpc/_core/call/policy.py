"""The facts about each rpc, one row per rpc: what sending it twice means, and what limits it.

Rules: an rpc that is not known to be a read is never repeated on a guess. An rpc without a row is judged by what its
method table says: one that gives an operation generates, one that REST knows as GET reads. The only table of the
kind: an rpc that behaves differently gets a row here, and nothing elsewhere.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

from yagrpc import config
from yagrpc._core.endpoints.directory import served_by
from yagrpc.method import BidiStreamMethod, OperationMethod, StreamMethod

if TYPE_CHECKING:
    from yagrpc.method import AnyMethod

ATTEMPTS: Final = 5
"""Attempts of one call at most, the first included; those that only a quota refused are not counted."""


class Kind(enum.Enum):
    """What sending a call twice means."""

    READ = "read"
    """Nothing starts, nothing is billed: it may be repeated."""
    GENERATION = "generation"
    """Something starts that is billed: it is repeated only where it is proved that nothing started."""
    OTHER = "other"
    """Not known: it is not repeated."""


READ: Final = Kind.READ
GENERATION: Final = Kind.GENERATION
"""For what each call asks: Python takes long to get a member from an enum."""


class Policy(NamedTuple):
    """The facts about one rpc.

    Args:
        kind: What sending it twice means.
        quotas: The fields of `Quota` that limit it; rpcs of the same ones share a queue.
        timeout: Seconds, where the caller gives none; `None` for no limit.
        endpoint: Which channel it takes: `model`, `operation`, `iam` or `discovery`; empty for a service
            that has an endpoint of its own.
        credential: Whether a credential goes with it.
        attempts: How often it is sent at most.
    """

    kind: Kind
    quotas: tuple[str, ...] = ()
    timeout: float | None = config.SUBMIT_TIMEOUT
    endpoint: str = "model"
    credential: bool = True
    attempts: int = ATTEMPTS


_MODELS: Final = "/yandex.cloud.ai.foundation_models.v1."
_CLASSIFICATION: Final = Policy(Kind.READ, ("classification_per_second",))
_TOKENIZE: Final = Policy(Kind.READ, ("tokenize_per_second",))
_DISCOVERY: Final = Policy(Kind.READ, endpoint="discovery", credential=False)

POLICIES: Final[dict[str, Policy]] = {
    f"{_MODELS}TextGenerationService/Completion": Policy(
        Kind.GENERATION, ("concurrent_completions",), config.COMPLETION_TIMEOUT
    ),
    f"{_MODELS}TextGenerationAsyncService/Completion": Policy(
        Kind.GENERATION, ("submit_per_second", "submit_per_hour")
    ),
    f"{_MODELS}TokenizerService/Tokenize": _TOKENIZE,
    f"{_MODELS}TokenizerService/TokenizeCompletion": _TOKENIZE,
    f"{_MODELS}EmbeddingsService/TextEmbedding": Policy(Kind.READ, ("embeddings_per_second",)),
    f"{_MODELS}text_classification.TextClassificationService/Classify": _CLASSIFICATION,
    f"{_MODELS}text_classification.TextClassificationService/FewShotClassify": _CLASSIFICATION,
    f"{_MODELS}image_generation.ImageGenerationAsyncService/Generate": Policy(
        Kind.GENERATION, ("images_per_minute", "images_per_day")
    ),
    "/yandex.cloud.operation.OperationService/Get": Policy(Kind.READ, timeout=config.GET_TIMEOUT, endpoint="operation"),
    "/yandex.cloud.operation.OperationService/Cancel": Policy(Kind.READ, endpoint="operation"),
    "/yandex.cloud.iam.v1.IamTokenService/Create": Policy(Kind.READ, endpoint="iam", credential=False),
    "/yandex.cloud.endpoint.ApiEndpointService/Get": _DISCOVERY,
    "/yandex.cloud.endpoint.ApiEndpointService/List": _DISCOVERY,
}
"""The rows, by the full gRPC path."""

POLL: Final = POLICIES["/yandex.cloud.operation.OperationService/Get"]._replace(attempts=1)
"""A Get of the poll scheduler: it is sent once, because the scheduler decides when the next one is sent."""


def policy_of(method: AnyMethod) -> Policy:
    """The facts about an rpc: its row, or what its method table lets one conclude."""
    row = POLICIES.get(method.path)
    if row is not None:
        return row
    kind = Kind.OTHER
    if isinstance(method, OperationMethod):
        kind = Kind.GENERATION
    elif method.http is not None and method.http.verb == "GET":
        kind = Kind.READ
    streamed = isinstance(method, (StreamMethod, BidiStreamMethod))
    timeout = config.COMPLETION_TIMEOUT if streamed else config.SUBMIT_TIMEOUT
    return Policy(kind, timeout=timeout, endpoint=served_by(method.service))

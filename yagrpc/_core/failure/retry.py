"""Which failures are tried again, and when: one table for both shells.

| kind of call            | sent again on                                                       | otherwise |
| ----------------------- | ------------------------------------------------------------------- | --------- |
| read (starts nothing)   | UNAVAILABLE, RESOURCE_EXHAUSTED, INTERNAL, ABORTED, a hung attempt  | its error |
| generation (is billed)  | RESOURCE_EXHAUSTED that the service itself sent, before any answer  | its error, or `AmbiguousSubmitError` where the generation may have started |
| any other               | nothing                                                             | its error |

Rules: reading twice is free, generating twice is billed twice; whatever is not known to be a read is never repeated
on a guess. What a failure proves is read from its status, from where it came and from what was seen before it, never
from its text.

gRPC has retries of its own, which know nothing of this table: every channel that a client opens has them turned off
(`grpc.enable_retries=0`), the transparent ones included, which send a request again when the other side says that it
never looked at it. They would be right where the other side tells the truth, and uncounted in any case.
"""  # noqa: E501

from __future__ import annotations

import enum
import random
from typing import TYPE_CHECKING, Final

from yagrpc.errors import Code
from yagrpc.method import OperationMethod

if TYPE_CHECKING:
    from yagrpc._core.flow import AnyMethod
    from yagrpc.errors import CallError

ATTEMPTS: Final = 5
"""Attempts of one call at most, the first included."""

READ_ATTEMPT: Final = 15.0
"""Seconds for the first attempt of a read, doubled with each; the last has all that is left. A request that hangs
would use up the whole timeout otherwise."""

LONGEST_HINT: Final = 30.0
"""Seconds that a pause asked for by the service is kept to at most: a wrong hint must not hang a call."""

READ_RETRIED: Final = frozenset(
    {Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.ABORTED, Code.DEADLINE_EXCEEDED}
)
"""Statuses on which a read is sent again, while it has time left."""

SUBMIT_RETRIED: Final = frozenset({Code.RESOURCE_EXHAUSTED})
"""Statuses on which a generation is sent again: the quota is checked before anything starts."""

SUBMIT_AMBIGUOUS: Final = frozenset(
    {
        Code.CANCELLED,
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""Statuses after which a generation that was sent may have started: a lost reply looks the same."""

_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 5.0

_MODELS: Final = "/yandex.cloud.ai.foundation_models.v1."
_READS: Final = frozenset(
    {
        f"{_MODELS}TokenizerService/Tokenize",
        f"{_MODELS}TokenizerService/TokenizeCompletion",
        f"{_MODELS}EmbeddingsService/TextEmbedding",
        f"{_MODELS}text_classification.TextClassificationService/Classify",
        f"{_MODELS}text_classification.TextClassificationService/FewShotClassify",
        "/yandex.cloud.operation.OperationService/Cancel",
        "/yandex.cloud.iam.v1.IamTokenService/Create",
    }
)
"""Methods that are not `GET` in REST and yet start nothing when repeated."""

_GENERATIONS: Final = frozenset({f"{_MODELS}TextGenerationService/Completion"})
"""Methods that generate, besides all that give an operation."""


class Kind(enum.Enum):
    """What sending a call twice means."""

    READ = "read"
    GENERATION = "generation"
    OTHER = "other"


def kind_of(method: AnyMethod) -> Kind:
    """The row of the table that a method belongs to."""
    if method.path in _READS or (method.http is not None and method.http.verb == "GET"):
        return Kind.READ
    if isinstance(method, OperationMethod) or method.path in _GENERATIONS:
        return Kind.GENERATION
    return Kind.OTHER


def attempt_timeout(attempt: int, left: float | None) -> float | None:
    """Seconds for one attempt of a read (the first is 1), of those that are left for the call."""
    if attempt >= ATTEMPTS:
        return left
    mine = READ_ATTEMPT * 2.0 ** (attempt - 1)
    return mine if left is None else min(mine, left)


def backoff(attempt: int) -> float:
    """Seconds to wait before an attempt (2 is the first repetition): doubling, jittered by a fifth."""
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 2))
    return pause * random.uniform(0.8, 1.2)


def pause_before(attempt: int, error: CallError) -> float | None:
    """Seconds to wait before an attempt; `None` where the service wants no other. Its own hint wins, up to a limit.

    Args:
        attempt: Which.
        error: How the attempt before failed.
    """
    hint = error.retry_after
    if hint is not None:
        return None if hint < 0 else min(hint, LONGEST_HINT)
    return backoff(attempt)

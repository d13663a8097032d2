"""Which failures are tried again, and when: one table for both shells.

Rules: reading twice is free, generating twice is billed twice. A read is repeated on every status that may pass; a
submit only where the refusal proves that nothing started; whatever is not known to be a read counts as a submit.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from yagrpc.errors import Code

if TYPE_CHECKING:
    from yagrpc._core.flow import AnyMethod

ATTEMPTS: Final = 5
"""Attempts of one call at most, the first included."""

READ_RETRIED: Final = frozenset({Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.ABORTED})
"""Statuses on which a read is sent again."""

SUBMIT_RETRIED: Final = frozenset({Code.RESOURCE_EXHAUSTED})
"""Statuses on which a submit is sent again: the quota is checked before anything starts."""

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
"""Statuses after which a submit that was sent may have started something: a lost reply looks the same."""

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


def is_read(method: AnyMethod) -> bool:
    """Whether sending a request of this method twice is as good as sending it once."""
    return method.path in _READS or (method.http is not None and method.http.verb == "GET")


def pause_before(attempt: int) -> float:
    """Seconds to wait before an attempt (2 is the first repetition): doubling, jittered by a fifth."""
    pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (attempt - 2))
    return pause * random.uniform(0.8, 1.2)

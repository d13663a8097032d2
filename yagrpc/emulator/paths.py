"""gRPC paths of everything that the emulator serves.

Written out here, not taken from the client's method tables: a wrong path there must not match a wrong path here.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "CLASSIFY",
    "CLOUD",
    "COMPLETION",
    "COMPLETION_ASYNC",
    "ENDPOINT_GET",
    "ENDPOINT_LIST",
    "FEW_SHOT_CLASSIFY",
    "IAM_CREATE",
    "IAM_CREATE_FOR_SERVICE_ACCOUNT",
    "IAM_REVOKE",
    "IMAGE_GENERATE",
    "OPEN_TO_ALL",
    "OPERATION_CANCEL",
    "OPERATION_GET",
    "TEXT_EMBEDDING",
    "TOKENIZE",
    "TOKENIZE_COMPLETION",
]

CLOUD: Final = "/yandex.cloud."
"""The beginning of every path of the service; other paths (health, reflection) are not part of it."""

COMPLETION: Final = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
COMPLETION_ASYNC: Final = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
TOKENIZE: Final = "/yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenize"
TOKENIZE_COMPLETION: Final = "/yandex.cloud.ai.foundation_models.v1.TokenizerService/TokenizeCompletion"
TEXT_EMBEDDING: Final = "/yandex.cloud.ai.foundation_models.v1.EmbeddingsService/TextEmbedding"
CLASSIFY: Final = "/yandex.cloud.ai.foundation_models.v1.text_classification.TextClassificationService/Classify"
FEW_SHOT_CLASSIFY: Final = (
    "/yandex.cloud.ai.foundation_models.v1.text_classification.TextClassificationService/FewShotClassify"
)
IMAGE_GENERATE: Final = "/yandex.cloud.ai.foundation_models.v1.image_generation.ImageGenerationAsyncService/Generate"
OPERATION_GET: Final = "/yandex.cloud.operation.OperationService/Get"
OPERATION_CANCEL: Final = "/yandex.cloud.operation.OperationService/Cancel"
ENDPOINT_GET: Final = "/yandex.cloud.endpoint.ApiEndpointService/Get"
ENDPOINT_LIST: Final = "/yandex.cloud.endpoint.ApiEndpointService/List"
IAM_CREATE: Final = "/yandex.cloud.iam.v1.IamTokenService/Create"
IAM_CREATE_FOR_SERVICE_ACCOUNT: Final = "/yandex.cloud.iam.v1.IamTokenService/CreateForServiceAccount"
IAM_REVOKE: Final = "/yandex.cloud.iam.v1.IamTokenService/Revoke"

OPEN_TO_ALL: Final = frozenset({ENDPOINT_GET, ENDPOINT_LIST, IAM_CREATE, IAM_CREATE_FOR_SERVICE_ACCOUNT, IAM_REVOKE})
"""Served without a credential. The service does so for discovery and `Create`; the emulator does so for all of
these, so that a test can issue and revoke tokens without a credential."""

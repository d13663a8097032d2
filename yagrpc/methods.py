"""The service's rpcs, for `client.call`: `methods.TextGenerationAsyncService.Completion` and the like.

Each name is a table of one service; a table is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from yagrpc import _pb

if TYPE_CHECKING:
    ApiEndpointService = _pb.api_endpoint_service_methods.ApiEndpointService
    EmbeddingsService = _pb.embedding_service_methods.EmbeddingsService
    IamTokenService = _pb.iam_token_service_methods.IamTokenService
    ImageGenerationAsyncService = _pb.image_generation_service_methods.ImageGenerationAsyncService
    OperationService = _pb.operation_service_methods.OperationService
    TextClassificationService = _pb.text_classification_service_methods.TextClassificationService
    TextGenerationAsyncService = _pb.text_generation_service_methods.TextGenerationAsyncService
    TextGenerationBatchService = _pb.text_generation_service_methods.TextGenerationBatchService
    TextGenerationService = _pb.text_generation_service_methods.TextGenerationService
    TokenizerService = _pb.text_generation_service_methods.TokenizerService

SERVICES: Final = {
    "ApiEndpointService": "api_endpoint_service_methods",
    "EmbeddingsService": "embedding_service_methods",
    "IamTokenService": "iam_token_service_methods",
    "ImageGenerationAsyncService": "image_generation_service_methods",
    "OperationService": "operation_service_methods",
    "TextClassificationService": "text_classification_service_methods",
    "TextGenerationAsyncService": "text_generation_service_methods",
    "TextGenerationBatchService": "text_generation_service_methods",
    "TextGenerationService": "text_generation_service_methods",
    "TokenizerService": "text_generation_service_methods",
}
"""The table module of each service, by the service's short name."""

__all__ = list(SERVICES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in SERVICES:
        raise AttributeError(f"yagrpc.methods has no service {name!r}; it has {', '.join(SERVICES)}")
    table = globals()[name] = getattr(getattr(_pb, SERVICES[name]), name)
    return table


def __dir__() -> list[str]:
    return __all__

"""Embeddings: `text_embedding`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc import methods
from yagrpc._aio.methods.base import Calls
from yagrpc._services.embeddings import EmbeddingParameters, Embeddings, embedding_requests
from yagrpc.signatures import explicit_parameters

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from yagrpc._services.embeddings import TextsInput


class EmbeddingMethods(Calls):
    """The methods of `EmbeddingsService`."""

    @explicit_parameters
    async def text_embedding(self, texts: TextsInput, **parameters: Unpack[EmbeddingParameters]) -> Embeddings:
        """Turn texts into vectors, which lie close together where meanings do.

        Each text is a request of its own. Up to 16 run at once, under `Quota.embeddings_per_second`; the texts are
        read as requests can start, and the vectors come in the order of the texts. The first failure ends the call:
        the requests that run are cancelled, and the error's message names the text, such as `texts[3]`.

        A timeout that is given covers the whole call: all texts, their waits for the quota included. Without one,
        each text has 60 seconds from the moment at which the quota lets its request go, however long it waited.

        Args:
            texts: A text, or an iterable of texts: a list, an array, a series, a generator, ... All texts of a
                sequence, an array or a series are checked before the first is sent, others as they are read.
            **parameters: See `EmbeddingParameters`.

        Raises:
            RequestError: An argument that the service would refuse, such as an empty text; it was not sent.
            CallError: The service refused a text, or could not be reached.
            QuotaWaitError: The timeout ended before every text had its slot under the quota.
            ResultError: An answer has no vector.
        """
        requests, calling = embedding_requests("text_embedding", texts, parameters, self._core)
        method, name = methods.EmbeddingsService.TextEmbedding, None if isinstance(texts, str) else "texts"
        return Embeddings.joined(await self._each(Embeddings.of_one, method, requests, calling, name))

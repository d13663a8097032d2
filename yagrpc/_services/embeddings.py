"""Embeddings: the requests for vectors of texts, one a text, and the result of all of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias, overload

from yagrpc import _pb, quantities
from yagrpc._core.call.parameters import CallParameters, split_parameters
from yagrpc.errors import RequestError, ResultError
from yagrpc.ids import Answer, RequestIds

if TYPE_CHECKING:
    from yagrpc._services.defaults import Defaults
    from yagrpc.quantities import WholeNumber
    from yagrpc.results import Usage

MODEL: Final = "text-embeddings-v2-doc"
"""The model where a call names none: of the current generation, for the texts that are searched."""

_FIXED: Final = ("text-search-doc", "text-search-query")
"""Models of the first generation: 256 numbers, and no choice."""
_CHOOSABLE: Final = ("text-embeddings-v2-doc", "text-embeddings-v2-query")
_DIMS: Final = (256, 768)

TextsInput: TypeAlias = "str | Iterable[str]"
"""A text, or several in order."""


class EmbeddingParameters(CallParameters, total=False):
    """What `text_embedding` takes beside the texts."""

    model: str
    """`text-embeddings-v2-doc` (the default) for texts that are searched, `text-embeddings-v2-query` for the
    queries; `text-search-doc` and `text-search-query` of the first generation; NAME/BRANCH; or a whole URI such
    as `emb://FOLDER/text-search-doc/latest`. Vectors of different generations do not compare."""
    dim: WholeNumber | None
    """Numbers in a vector: of a v2 model 256 (the default) or 768, of a tuned model what it was tuned for.
    `text-search-doc` and `text-search-query` always have 256, and take none."""


def embedding_requests(
    method: str, texts: TextsInput, parameters: EmbeddingParameters, defaults: Defaults
) -> tuple[Iterable[_pb.embedding_service_pb2.TextEmbeddingRequest], CallParameters]:
    """The requests for the vectors of some texts, in order, and the parameters of each call.

    The texts of a sequence, an array or a series are all checked here; those of any other iterable one by one, when
    the next request is asked for.

    Args:
        method: The Python method that the user called.
        texts: As they were given.
        parameters: As they were given.
        defaults: The client's folder.

    Raises:
        TypeError: The method does not take one of the parameters.
        RequestError: The service would refuse an argument.
        ConfigError: The model is a short name and no folder is known.
    """
    from yagrpc.messages import model_uri

    shaping, calling = split_parameters(method, parameters, EmbeddingParameters)
    uri = model_uri(shaping.get("model", MODEL), defaults.folder_id, "emb")
    make = functools.partial(embedding_request, uri, _checked_dim(shaping.get("dim"), _model_name(uri)))
    if isinstance(texts, str):
        return [make(texts, "texts")], calling
    if isinstance(texts, (bytes, bytearray, Mapping)) or getattr(texts, "ndim", 1) != 1 or not _iterable(texts):
        raise RequestError("texts", texts, "it takes a text, or an iterable of texts in one dimension")
    if isinstance(texts, Sequence) or hasattr(texts, "ndim"):
        for _ in _each(make, texts):
            pass
    return _each(make, texts), calling


class Embeddings(Answer):
    """The vectors of some texts, in order: `len()`, indexing and iteration give them as lists of floats.

    `numpy.asarray(embeddings)` is an array of one row a text. `ids` are those of the first call; `all_ids` has those
    of all.

    Args:
        protos: The responses, one a text.

    Raises:
        ResultError: One has no vector.
    """

    __slots__ = ("_vectors", "all_ids", "protos")

    def __init__(self, protos: Iterable[_pb.embedding_service_pb2.TextEmbeddingResponse]) -> None:
        super().__init__()
        self.protos = tuple(protos)
        """The responses, one a text."""
        self.all_ids: tuple[RequestIds, ...] = ()
        """The ids of each text's call."""
        self._vectors: list[list[float]] | None = None
        if not all(proto.embedding for proto in self.protos):
            raise ResultError("the service answered without a vector")

    @classmethod
    def of_one(cls, proto: _pb.embedding_service_pb2.TextEmbeddingResponse) -> Embeddings:
        """The vector of one text."""
        return cls((proto,))

    @classmethod
    def joined(cls, parts: Sequence[Embeddings]) -> Embeddings:
        """The vectors of several answers, in order."""
        whole = cls(proto for part in parts for proto in part.protos)
        whole.all_ids = tuple(part.ids for part in parts)
        if parts:
            whole.ids = parts[0].ids
        return whole

    @property
    def vectors(self) -> list[list[float]]:
        """The vectors, always as lists; created at the first use."""
        if self._vectors is None:
            self._vectors = list(self)
        return self._vectors

    @property
    def usage(self) -> Usage:
        """What all texts used, in tokens."""
        from yagrpc.results import Usage

        tokens = sum(proto.num_tokens for proto in self.protos)
        return Usage(tokens, 0, tokens, 0)

    @property
    def model_version(self) -> str:
        """The model's version, usually a date.

        It names several, with commas, where the service changed it between two texts: their vectors do not compare.
        """
        return ", ".join(dict.fromkeys(proto.model_version for proto in self.protos))

    def __len__(self) -> int:
        return len(self.protos)

    def __iter__(self) -> Iterator[list[float]]:
        return (list(proto.embedding) for proto in self.protos)

    @overload
    def __getitem__(self, index: int) -> list[float]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[float]]: ...
    def __getitem__(self, index: int | slice) -> list[float] | list[list[float]]:
        if isinstance(index, slice):
            return [list(proto.embedding) for proto in self.protos[index]]
        return list(self.protos[index].embedding)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """What `numpy.asarray` asks for; only there is numpy needed."""
        import importlib

        if copy is False:
            raise ValueError("vectors have no array of their own: it takes a copy")
        numpy: Any = importlib.import_module("numpy")
        array = numpy.empty((len(self), len(self.protos[0].embedding) if self.protos else 0), dtype)
        for row, proto in enumerate(self.protos):
            array[row] = proto.embedding
        return array

    def __repr__(self) -> str:
        size = f" of {len(self.protos[0].embedding)} numbers" if self.protos else ""
        return f"Embeddings({len(self)} vectors{size}, model_version={self.model_version!r})"


def embedding_request(
    uri: str, dim: int | None, text: object, field: str
) -> _pb.embedding_service_pb2.TextEmbeddingRequest:
    """The request for the vector of one text.

    Args:
        uri: The URI of the model.
        dim: The numbers of the vector; `None` for what the model gives.
        text: The text.
        field: What the text is called.

    Raises:
        RequestError: It is no text.
    """
    from yagrpc.messages import checked_text

    request = _pb.embedding_service_pb2.TextEmbeddingRequest(model_uri=uri, text=checked_text(text, field))
    if dim is not None:
        request.dim.value = dim
    return request


def _each(make: Any, texts: Iterable[str]) -> Iterator[_pb.embedding_service_pb2.TextEmbeddingRequest]:
    return (make(text, f"texts[{index}]") for index, text in enumerate(texts))


def _iterable(texts: object) -> bool:
    try:
        iter(texts)  # type: ignore[call-overload]
    except TypeError:
        return False
    return True


def _model_name(uri: str) -> str:
    """The name within the URI of a model.

    Raises:
        RequestError: The model is not one for embeddings.
    """
    scheme, _, rest = uri.partition("://")
    if scheme != "emb" and not (scheme == "gpt" and "@" in rest):
        allowed = (
            "it takes NAME, NAME/BRANCH, 'emb://FOLDER/NAME', or of a tuned model 'gpt://FOLDER/NAME/BRANCH@SUFFIX'"
        )
        raise RequestError("model", uri, allowed)
    return rest.partition("/")[2].partition("/")[0]


def _checked_dim(dim: object, name: str) -> int | None:
    if dim is None:
        return None
    if name in _FIXED:
        raise RequestError(
            "dim", dim, f"{name} always has 256 numbers: leave it out, or take {' or '.join(_CHOOSABLE)}"
        )
    whole = quantities.number(dim, whole=True)
    number = whole if isinstance(whole, int) else 0
    if name in _CHOOSABLE:
        if number not in _DIMS:
            raise RequestError("dim", dim, f"{name} takes {' or '.join(map(str, _DIMS))}")
    elif not 0 < number < 2**63:
        raise RequestError("dim", dim, "it takes a whole number above 0")
    return number

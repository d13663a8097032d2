"""Requests for vectors and their result, without a network; and the deadline of a call that waits for its slot."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb, methods
from yagrpc._core.call.call import Call
from yagrpc._core.call.policy import policy_of
from yagrpc._core.client import located
from yagrpc._core.deadline import Deadline
from yagrpc._core.flow import Wait
from yagrpc._core.quota.admission import Admission
from yagrpc._core.quota.gates import Gate
from yagrpc._core.quota.windows import Window
from yagrpc._core.reporting.logs import hub_of
from yagrpc._services.embeddings import Embeddings, embedding_requests

Request = _pb.embedding_service_pb2.TextEmbeddingRequest
Response = _pb.embedding_service_pb2.TextEmbeddingResponse

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
V2 = ("text-embeddings-v2-doc", "text-embeddings-v2-query")
V1 = ("text-search-doc", "text-search-query")


class Settings(NamedTuple):
    """What a request takes of its client."""

    folder_id: str | None = "b1g"
    model: str = "yandexgpt"


def built(texts: Any, **parameters: Any) -> tuple[list[Request], dict[str, Any]]:
    """The requests, and the parameters of their calls."""
    requests, calling = embedding_requests("text_embedding", texts, parameters, Settings())  # type: ignore[arg-type]
    return list(requests), dict(calling)


def response(vector: list[float], tokens: int = 1, version: str = "1") -> Response:
    return Response(embedding=vector, num_tokens=tokens, model_version=version)


# Requests


@given(texts=st.lists(TEXTS, max_size=5), model=st.sampled_from(V2), dim=st.sampled_from([None, 256, 768]))
def test_each_text_is_a_request_in_order(texts: list[str], model: str, dim: int | None) -> None:
    requests, _ = built(texts, model=model, dim=dim)
    assert [request.text for request in requests] == texts
    assert {request.model_uri for request in requests} <= {f"emb://b1g/{model}/latest"}
    assert all(request.HasField("dim") is (dim is not None) for request in requests)
    assert all(request.dim.value == (dim or 0) for request in requests)
    assert built(iter(texts), model=model, dim=dim)[0] == requests
    assert built(numpy.array(texts, dtype=object), model=model, dim=dim)[0] == requests
    assert [Request.FromString(request.SerializeToString()) for request in requests] == requests


@given(dim=st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()), model=st.sampled_from(V1 + V2))
def test_a_dimension_is_one_that_the_model_has_or_an_error_names_it(dim: Any, model: str) -> None:
    fits = dim is None or (model in V2 and type(dim) is int and dim in (256, 768))
    try:
        built("a", model=model, dim=dim)
    except yagrpc.RequestError as error:
        assert not fits
        assert error.field == "dim"
        assert model in error.allowed
        assert str(error).isprintable() or not str(dim).isprintable()
    else:
        assert fits


@given(texts=st.lists(TEXTS, min_size=1, max_size=5), at=st.integers(0, 4), wrong=st.sampled_from(["", 5, None, b"a"]))
def test_what_is_no_text_is_named_by_its_index(texts: list[str], at: int, wrong: Any) -> None:
    at = min(at, len(texts))
    given: list[Any] = [*texts[:at], wrong, *texts[at:]]
    with pytest.raises(yagrpc.RequestError) as caught:
        embedding_requests("text_embedding", given, {}, Settings())
    assert caught.value.field == f"texts[{at}]"
    requests, _ = embedding_requests("text_embedding", iter(given), {}, Settings())  # read as they are asked for
    reading = iter(requests)
    assert [next(reading).text for _ in range(at)] == texts[:at]
    with pytest.raises(yagrpc.RequestError) as caught:
        next(reading)
    assert caught.value.field == f"texts[{at}]"


def test_texts_that_only_seem_to_be_a_sequence_are_read_once() -> None:
    class Once:
        """As a progress bar: it has a length, and can be read once."""

        def __init__(self) -> None:
            self._texts = iter(["a", "b"])

        def __len__(self) -> int:
            return 2

        def __contains__(self, text: object) -> bool:
            return text in list(self._texts)

        def __iter__(self) -> Iterator[str]:
            return self._texts

    assert [request.text for request in built(Once())[0]] == ["a", "b"]


def test_strings_of_numpy_are_sent_as_plain_ones() -> None:
    (request,) = built(numpy.array(["слово"]))[0]
    assert request == Request(model_uri=f"emb://b1g/{V2[0]}/latest", text="слово")
    assert built(numpy.str_("слово"))[0] == [request]


def test_parameters_of_the_call_are_passed_on() -> None:
    assert built("a", timeout=5, request_id="r", dim=256)[1] == {"timeout": 5, "request_id": "r"}


# The result


def test_vectors_are_lists_and_rows() -> None:
    one, two = [0.5, -0.25], [1.0, 2.0]
    embeddings = Embeddings([response(one, 3), response(two, 4)])
    assert embeddings.vectors == list(embeddings) == [one, two] == embeddings[:]
    assert embeddings.vectors is embeddings.vectors
    assert (embeddings[0], embeddings[-1], embeddings[1:]) == (one, two, [two])
    assert all(type(number) is float for vector in embeddings.vectors for number in vector)
    assert len(embeddings) == 2
    assert embeddings.usage == yagrpc.Usage(7, 0, 7, 0)
    with pytest.raises(IndexError):
        embeddings[2]
    assert repr(embeddings) == "Embeddings(2 vectors of 2 numbers, model_version='1')"
    assert repr(Embeddings([])) == "Embeddings(0 vectors, model_version='')"


@given(st.integers(1, 6).flatmap(lambda size: st.lists(st.lists(FLOATS, min_size=size, max_size=size), max_size=5)))
def test_an_array_has_a_row_for_each_text(rows: list[list[float]]) -> None:
    embeddings = Embeddings(map(response, rows))
    array = numpy.asarray(embeddings)
    assert array.dtype == numpy.float64
    assert array.shape == (len(rows), len(rows[0]) if rows else 0)
    assert array.tolist() == rows == embeddings.vectors


def test_array_has_the_form_that_numpy_asks_for() -> None:
    embeddings = Embeddings([response([0.5, 2.0])])
    assert numpy.asarray(embeddings, dtype="float32").dtype == numpy.float32
    assert numpy.array(embeddings, copy=True).tolist() == [[0.5, 2.0]]
    assert (numpy.asarray(embeddings) @ [2.0, 1.0]).tolist() == [3.0]
    with pytest.raises(ValueError, match="it takes a copy"):
        numpy.array(embeddings, copy=False)


def test_vectors_of_two_lengths_have_no_array() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        numpy.asarray(Embeddings([response([1.0, 2.0]), response([1.0, 2.0, 3.0])]))


def test_versions_that_differ_are_all_named() -> None:
    versions = ("1", "2", "1")
    assert Embeddings(response([1.0], version=version) for version in versions).model_version == "1, 2"


def test_parts_are_joined_with_their_ids() -> None:
    parts = [Embeddings.of_one(response([float(number)])) for number in range(3)]
    for number, part in enumerate(parts):
        part.ids = yagrpc.RequestIds(f"r-{number}")
    whole = Embeddings.joined(parts)
    assert whole.vectors == [[0.0], [1.0], [2.0]]
    assert [ids.client_request_id for ids in whole.all_ids] == ["r-0", "r-1", "r-2"]
    assert whole.ids == parts[0].ids
    assert Embeddings.joined([]).all_ids == ()


def test_an_answer_without_a_vector_is_no_result() -> None:
    with pytest.raises(yagrpc.ResultError, match="without a vector"):
        Embeddings([response([1.0]), response([])])


# The timeout of a call that waits for its slot


class Clock:
    """A clock that a test moves."""

    now = 1_000_003.7

    def __call__(self) -> float:
        return self.now


def entered(clock: Clock, gate: Gate, call: Call[Any, Any], deadline: Deadline) -> Deadline:
    """The deadline that a call has when it has its slot; time passes as it waits."""
    flow = Admission(gate, clock, hub_of(None, texts=lambda: False)).enter(call, deadline, None)
    try:
        effect = next(flow)
        while True:
            assert isinstance(effect, Wait)
            assert effect.seconds is not None
            clock.now += effect.seconds
            effect = flow.send(None)
    except StopIteration as stop:
        found: Deadline = stop.value
        return found


@pytest.mark.parametrize("queues", [True, False])
def test_a_timeout_starts_with_the_slot_where_the_call_queues(queues: bool) -> None:
    clock, method = Clock(), methods.EmbeddingsService.TextEmbedding
    gate = Gate(Window("embeddings_per_second", 0.01, 1.0), make_lock=threading.RLock)  # one in 102 s
    call: Call[Any, Any] = Call(method, policy_of(method), Request(), 60.0, (), "r")
    call.queues = queues
    first = Deadline(60.0, clock)
    slot = gate.join()
    assert gate.take(slot, clock.now) is None
    gate.sent(slot, clock.now)
    gate.answered(slot, clock.now)
    started = clock.now
    if not queues:
        with pytest.raises(yagrpc.QuotaWaitError):
            entered(clock, gate, call, first)
        return
    deadline = entered(clock, gate, call, first)
    assert clock.now - started > 100
    assert (first.left(), deadline.left(), deadline.seconds) == (0.0, 60.0, 60.0)
    assert call.queues is False, "a slot that it needs later counts"


# Errors that name one of several requests


def test_an_error_is_copied_before_it_names_a_request() -> None:
    """Those who wait for one token are all given the same error."""
    cause = ValueError("below")
    shared = yagrpc.InvalidArgumentError("as asked", method="/a/B", attempts=2, details=({"@type": "x"},))
    try:
        raise shared from cause
    except yagrpc.InvalidArgumentError as error:
        named = located(error, "texts[3]")
    assert type(named) is yagrpc.InvalidArgumentError
    assert str(named).startswith("INVALID_ARGUMENT: texts[3]: as asked (method /a/B")
    assert (named.context, named.details) == (shared.context, shared.details)
    assert named.__traceback__ is shared.__traceback__
    assert shared.message == "as asked"
    assert str(pickle.loads(pickle.dumps(named))) == str(copy.copy(named)) == str(named)

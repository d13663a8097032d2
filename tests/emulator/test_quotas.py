"""Quotas: each one through the wire, and the window by its property."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from typing import TYPE_CHECKING

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb
from yagrpc.emulator import EmulatorQuota, parse_quota, paths
from yagrpc.emulator.cloud.quotas import Quotas
from yagrpc.emulator.cloud.windows import (
    QUOTA_MODELS,
    BucketWindow,
    FixedWindow,
    QuotaModel,
    SlidingWindow,
    make_window,
)
from yagrpc.emulator.refusal import Refusal

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused

ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@ANY_MACHINE
@given(
    limit=st.integers(0, 5),
    steps=st.lists(st.floats(0, 1, allow_subnormal=False), max_size=60),
)
def test_no_window_of_one_second_has_more_than_the_limit(limit: int, steps: list[float]) -> None:
    window = SlidingWindow(limit, 1.0)
    taken: list[float] = []
    for now in itertools.accumulate(steps):
        inside = sum(1 for moment in taken if moment > now - 1.0)
        assert window.full(now) == (inside >= limit), "refused only when the window is really full"
        if not window.full(now):
            window.take(now)
            taken.append(now)
    for first, moment in enumerate(taken):
        assert sum(1 for other in taken[first:] if other < moment + 1.0) <= limit or limit == 0


@ANY_MACHINE
@given(limit=st.integers(0, 5), steps=st.lists(st.floats(0, 1, allow_subnormal=False), max_size=60))
def test_no_second_of_the_clock_has_more_than_the_limit(limit: int, steps: list[float]) -> None:
    window = FixedWindow(limit, 1.0)
    taken: list[float] = []
    for now in itertools.accumulate(steps):
        inside = sum(1 for moment in taken if moment // 1 == now // 1)
        assert window.full(now) == (inside >= limit)
        if not window.full(now):
            window.take(now)
            taken.append(now)


@ANY_MACHINE
@given(limit=st.integers(0, 5), steps=st.lists(st.floats(0, 1, allow_subnormal=False), max_size=60))
def test_no_bucket_gives_more_than_it_holds_and_what_flowed_in(limit: int, steps: list[float]) -> None:
    window = BucketWindow(limit, 1.0)
    taken: list[float] = []
    for now in itertools.accumulate(steps):
        if not window.full(now):
            window.take(now)
            taken.append(now)
    for first, start in enumerate(taken):
        for count, end in enumerate(taken[first:], start=1):
            assert count <= limit + (end - start) * limit + 1e-6


def test_the_three_models_differ_around_the_end_of_a_second() -> None:
    arrivals = [0.9, 0.9, 1.1, 1.1, 1.5, 1.5]
    passed: dict[QuotaModel, list[float]] = {}
    for model in QUOTA_MODELS:
        window = make_window(model, 2, 1.0)
        passed[model] = []
        for now in arrivals:
            if not window.full(now):
                window.take(now)
                passed[model].append(now)
    assert passed == {"sliding": [0.9, 0.9], "fixed": [0.9, 0.9, 1.1, 1.1], "bucket": [0.9, 0.9, 1.5]}


@pytest.mark.parametrize("model", QUOTA_MODELS)
def test_each_model_counts_on_the_wire(emulate: Emulate, ask: Ask, refused: Refused, model: QuotaModel) -> None:
    service = emulate(quota=EmulatorQuota(get_per_second=3), quota_model=model)
    operation = service.text_async.Completion(ask("ping"))
    # Far from the end of a second of the clock, so that a slow machine stays in it.
    service.emulator.advance(1 - service.emulator.now() % 1)
    for _ in range(3):
        service.get(operation.id)
    assert refused(service.get, operation.id).code is EXHAUSTED
    service.emulator.advance(1)
    assert service.get(operation.id).id == operation.id


def test_an_unknown_model_is_refused(emulate: Emulate) -> None:
    with pytest.raises(ValueError, match="quota_model is one of sliding, fixed, bucket, not 'leaky'"):
        emulate(quota_model="leaky")


def test_embeddings_are_limited_in_the_words_of_the_service(emulate: Emulate, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota())
    request = _pb.embedding_service_pb2.TextEmbeddingRequest(model_uri="emb://b1gfolder/text-search-doc", text="a")
    calls = [service.embeddings.TextEmbedding.future(request) for _ in range(11)]
    refusals = [call.details() for call in calls if call.code() is not grpc.StatusCode.OK]
    quoted = "ai.embeddingsTextEmbeddingRequestsPerSecond.rate rate quota limit exceed: allowed 10 requests"
    assert refusals == [quoted]


def test_both_kinds_of_classification_share_a_quota(emulate: Emulate, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota())
    protos = _pb.text_classification_service_pb2
    uri = "cls://b1gfolder/yandexgpt-lite/latest"
    few = protos.FewShotTextClassificationRequest(model_uri=uri, task_description="t", labels=["a"], text="x")
    service.classification.FewShotClassify(few)
    tuned = protos.TextClassificationRequest(model_uri=f"{uri}@suffix", text="x")
    refusal = refused(service.classification.Classify, tuned)
    assert refusal.code is EXHAUSTED
    assert refusal.message.endswith(".rate rate quota limit exceed: allowed 1 requests")


def test_images_are_limited_by_minute_and_by_day(emulate: Emulate, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota(images_per_minute=2, images_per_day=3))
    request = _pb.image_generation_service_pb2.ImageGenerationRequest(model_uri="art://b1gfolder/yandex-art")
    request.messages.add(text="a platypus")
    for _ in range(2):
        service.images.Generate(request)
    assert "Minute" in refused(service.images.Generate, request).message
    service.emulator.advance(60)
    service.images.Generate(request)
    assert "Day" in refused(service.images.Generate, request).message


def test_gets_are_limited(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota(get_per_second=3))
    operation = service.text_async.Completion(ask("ping"))
    service.emulator.advance(1)
    for _ in range(2):
        for _ in range(3):
            service.get(operation.id)
        refusal = refused(service.get, operation.id)
        assert refusal.code is EXHAUSTED
        assert refusal.message.endswith(".rate rate quota limit exceed: allowed 3 requests")
        assert refusal.status is None, "the service sends no details with these"
        service.emulator.advance(1)
    assert service.emulator.refusals[paths.OPERATION_GET, EXHAUSTED] == 2
    assert service.emulator.calls[paths.OPERATION_GET] == 8


def test_submits_are_limited_by_second_and_by_hour(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota(submit_per_second=2, submit_per_hour=5))
    allowed = []
    for _ in range(4):
        submits = [service.text_async.Completion.future(ask("ping")) for _ in range(3)]
        allowed.append(sum(1 for submit in submits if submit.code() is grpc.StatusCode.OK))
        service.emulator.advance(1)
    assert allowed == [2, 2, 1, 0], "what a second refuses takes nothing from the hour"
    assert "Hour" in refused(service.text_async.Completion, ask("ping")).message
    service.emulator.advance(3600)
    assert service.text_async.Completion(ask("ping")).id


def test_both_tokenizer_methods_share_a_quota(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota(tokenize_per_second=2))
    tokenize = _pb.text_generation_service_pb2.TokenizeRequest(model_uri="gpt://b1gfolder/yandexgpt", text="ping")
    service.tokenizer.Tokenize(tokenize)
    service.tokenizer.TokenizeCompletion(ask("ping"))
    assert refused(service.tokenizer.Tokenize, tokenize).code is EXHAUSTED
    assert refused(service.tokenizer.TokenizeCompletion, ask("ping")).code is EXHAUSTED


def test_running_completions_are_limited(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    service = emulate(quota=EmulatorQuota(concurrent_completions=2), completion_duration=3600)
    running = [service.text.Completion(ask("ping")) for _ in range(2)]
    for call in running:
        call.initial_metadata()  # it has arrived
    refusal = refused(service.text.Completion, ask("ping"))
    assert refusal.code is EXHAUSTED
    quoted = "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed 2 requests"
    assert refusal.message == quoted
    service.emulator.advance(3600)
    assert [len(list(call)) for call in running] == [1, 1]
    again = service.text.Completion(ask("ping"))
    again.initial_metadata()
    service.emulator.advance(3600)
    assert len(list(again)) == 1


def test_a_stream_that_is_left_gives_its_place_back(emulate: Emulate, ask: Ask) -> None:
    service = emulate(quota=EmulatorQuota(concurrent_completions=1), completion_duration=3600)
    left = service.text.Completion(ask("ping"))
    left.initial_metadata()
    left.cancel()
    # The server learns of it a moment later; until then it refuses.
    for _ in range(1000):
        call = service.text.Completion(ask("ping"))
        call.initial_metadata()
        service.emulator.advance(3600)
        with contextlib.suppress(grpc.RpcError):
            assert len(list(call)) == 1
            return
        assert call.code() is EXHAUSTED
    pytest.fail("the place was never given back")


def test_a_quota_that_is_none_does_not_limit() -> None:
    none = EmulatorQuota(
        get_per_second=None,
        submit_per_second=None,
        submit_per_hour=None,
        concurrent_completions=None,
        tokenize_per_second=None,
        embeddings_per_second=None,
        classification_per_second=None,
        images_per_minute=None,
        images_per_day=None,
    )
    for quotas in (Quotas(none), Quotas(None)):
        for path in (
            paths.OPERATION_GET,
            paths.COMPLETION_ASYNC,
            paths.COMPLETION,
            paths.TOKENIZE,
            paths.IMAGE_GENERATE,
        ):
            for _ in range(6000):
                with quotas.admit(path, 0.0):
                    pass


def test_a_quota_of_zero_refuses_all() -> None:
    quotas = Quotas(EmulatorQuota(get_per_second=0, concurrent_completions=0))
    for path in (paths.OPERATION_GET, paths.COMPLETION):
        with pytest.raises(Refusal), quotas.admit(path, 0.0):
            pass


def test_the_defaults_are_the_documented_ones() -> None:
    assert EmulatorQuota() == EmulatorQuota(50, 10, 5000, 10, 50, 10, 1, 500, 5000)


def test_quotas_have_the_names_that_the_client_gives_them() -> None:
    assert tuple(field.name for field in dataclasses.fields(EmulatorQuota)) == yagrpc.Quota._fields
    assert dataclasses.astuple(EmulatorQuota()) == yagrpc.Quota()


def test_a_negative_quota_is_refused() -> None:
    with pytest.raises(ValueError, match="get_per_second"):
        EmulatorQuota(get_per_second=-1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EmulatorQuota()),
        ("submit_per_second=2", EmulatorQuota(submit_per_second=2)),
        (" submit_per_hour = none , get_per_second=0,", EmulatorQuota(submit_per_hour=None, get_per_second=0)),
    ],
)
def test_a_quota_is_read_from_a_text(text: str, expected: EmulatorQuota) -> None:
    assert parse_quota(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("submits=2", "a quota is written NAME=NUMBER, with one of the names get_per_second, .*; got 'submits=2'"),
        ("5", "a quota is written NAME=NUMBER"),
        ("submit_per_second", "submit_per_second is a number of calls, 0 or more, or none for no limit; got ''"),
        ("submit_per_second=-1", "got '-1'"),
        ("submit_per_second=1.5", "got '1.5'"),
        ("submit_per_second=1,submit_per_second=2", "the quota submit_per_second is given twice"),
    ],
)
def test_a_text_that_is_no_quota_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse_quota(text)

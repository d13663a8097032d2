"""`client.bulk` in both clients, against the emulator: results, outcomes, resuming, and what ends a run."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import itertools
import sqlite3
import threading
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy
import pandas  # type: ignore[import-untyped]
import polars
import pytest

import yagrpc
from tests.bulk.conftest import FREE, leave, settings
from yagrpc import _pb, methods
from yagrpc._core.call.call import Call
from yagrpc.bulk.decisions.rows import rows_of
from yagrpc.bulk.engine.news import News
from yagrpc.bulk.files.outputs import GrowingOutput
from yagrpc.bulk.options import open_journal
from yagrpc.bulk.recording import commits
from yagrpc.bulk.report.figures import figures_of
from yagrpc.emulator import Delay, Emulator, EmulatorQuota, Failure, Fault, LostReply, paths
from yagrpc.journal.changes import Fixed, Intent
from yagrpc.journal.file import Lock
from yagrpc.journal.journal import Journal, JournalWriter
from yagrpc.limiter.sqlite import SqliteStore

SUBMIT = methods.TextGenerationAsyncService.Completion.path
SYNC = methods.TextGenerationService.Completion.path

Connect = Callable[..., yagrpc.Client]


def outcomes(results: Any) -> list[str]:
    return [result.outcome.value for result in results]


def filtered() -> Any:
    """What the service answers where its content filter stops it."""
    message = _pb.text_common_pb2.Message(role="assistant", text="a stock sentence")
    status = _pb.text_common_pb2.Alternative.AlternativeStatus.ALTERNATIVE_STATUS_CONTENT_FILTER
    return _pb.text_generation_service_pb2.CompletionResponse(
        alternatives=[_pb.text_common_pb2.Alternative(message=message, status=status)]
    )


REPLIES: Any = {
    "boom": Failure(grpc.StatusCode.INTERNAL, "broken"),
    "wrong": Failure(grpc.StatusCode.INVALID_ARGUMENT, "no such thing"),
    "filter": filtered(),
    "json": '{"n": 1}',
}


def test_results_come_in_any_order_and_are_given_in_that_of_the_input(connect: Connect) -> None:
    with Emulator(duration=0.05) as emulator:
        bulk = connect(emulator).bulk(f"row {n}" for n in range(30))
        assert sorted(result.number for result in bulk) == list(range(30))
        results = bulk.results()
        assert [result.row for result in results] == [f"row {n}" for n in range(30)]
        assert all(result.text is not None and f'"{result.row}"' in result.text for result in results)
        assert {result.operation_id for result in results} == {each.id for each in emulator.operations}
        assert emulator.generations == {SUBMIT: 30}


async def test_the_asyncio_client_has_the_same() -> None:
    with Emulator(duration=0.05) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            bulk = client.bulk([{"text": "a", "id": "x"}, {"text": "b", "id": "y"}])
            assert {result.id async for result in bulk} == {"x", "y"}
            assert [result.id for result in await bulk.results()] == ["x", "y"]
            assert (await client.bulk(["c"]).to_pandas())["outcome"].tolist() == ["done"]
            assert bulk.summary().outcomes == {"done": 2}


def test_rows_are_read_as_they_can_be_sent(connect: Connect) -> None:
    read = []

    def rows() -> Iterator[str]:
        for number in itertools.count():
            read.append(number)
            yield f"row {number}"

    with Emulator(duration=0) as emulator:
        results = iter(connect(emulator).bulk(rows(), concurrency=4))
        first = [next(results) for _ in range(10)]
        results.close()  # type: ignore[attr-defined]
    assert len(first) == 10
    assert emulator.generations[SUBMIT] <= len(read)


def test_results_are_read_where_the_journal_is_also_after_a_change_of_the_folder(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Emulator(duration=0.2) as emulator:
        bulk = connect(emulator).bulk(["a", "b", "c"], journal="journal")
        given = []
        for result in bulk:
            given.append(result.number)
            monkeypatch.chdir(tmp_path / "elsewhere")
        assert sorted(given) == [0, 1, 2]
        assert outcomes(bulk.results()) == ["done"] * 3
        assert bulk.run().outcomes == {"done": 3}
        assert emulator.generations == {SUBMIT: 3}
    assert not list((tmp_path / "elsewhere").iterdir())


async def test_asyncio_reads_results_where_the_journal_is_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Emulator(duration=0.2) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            given = []
            async for result in client.bulk(["a", "b", "c"], journal="journal"):
                given.append(result.number)
                monkeypatch.chdir(tmp_path / "elsewhere")
    assert sorted(given) == [0, 1, 2]


def test_a_journal_that_is_removed_during_its_run_is_no_empty_result(connect: Connect, tmp_path: Path) -> None:
    with Emulator(duration=0.2) as emulator:
        bulk = connect(emulator).bulk(["a", "b", "c"], journal=tmp_path / "journal")
        given = iter(bulk)
        next(given)
        (tmp_path / "journal").unlink()
        with pytest.raises(yagrpc.ConfigError, match="journal .* can't be used: No such file"):
            list(given)
        with pytest.raises(yagrpc.ConfigError, match="journal .* can't be used: No such file"):
            bulk.summary()


def test_a_run_that_is_refused_says_so_before_it_reads_the_journal(connect: Connect, tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        (tmp_path / "journal").touch()  # another process is just creating it
        lock = Lock(tmp_path / "journal")
        with pytest.raises(yagrpc.JournalInUseError):
            list(client.bulk(["a"], journal=tmp_path / "journal"))
        lock.release()
        with pytest.raises(yagrpc.ConfigError, match="is empty, or is just being created: ask again once its run"):
            client.bulk(["a"], journal=tmp_path / "journal").summary()


def test_a_closed_client_starts_no_run(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        bulk = client.bulk(["a"])
        client.close()
        for start in (lambda: client.bulk(["a"]), bulk.run, bulk.results, lambda: list(bulk)):
            with pytest.raises(yagrpc.ClientClosedError):
                start()
        assert not emulator.generations


@pytest.mark.parametrize("said", [-5, 2**63 - 1])
def test_numbers_of_tokens_that_cannot_be_meant_spoil_no_sum(connect: Connect, tmp_path: Path, said: int) -> None:
    answer = _pb.text_generation_service_pb2.CompletionResponse()
    answer.alternatives.add(status="ALTERNATIVE_STATUS_FINAL").message.text = "yes"
    answer.usage.input_text_tokens = answer.usage.completion_tokens = said
    with Emulator(duration=0, replies=lambda request: answer) as emulator:
        for count in (1, 3):  # the second run counts what the first has used
            bulk = connect(emulator).bulk([f"row {n}" for n in range(count)], journal=tmp_path / "journal")
            assert outcomes(bulk.results()) == ["done"] * count
            assert 0 <= bulk.summary().totals.input_tokens <= count * 2**40
    with contextlib.closing(Journal(tmp_path / "journal")) as journal:
        assert figures_of(journal).summary.outcomes == {"done": 3}


def test_a_limit_of_numpy_is_a_number(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        assert len(connect(emulator).bulk(["a", "b", "c"], limit=numpy.int64(2)).results()) == 2


def test_each_outcome_is_data(connect: Connect) -> None:
    with Emulator(duration=0, replies=REPLIES) as emulator:
        rows = ["fine", "boom", "wrong", "filter", {"text": "long", "max_tokens": 2}, "", {"text": "a", "id": 1}]
        bulk = connect(emulator).bulk([*rows, {"text": "b", "id": 1}], retries=0)
        results = bulk.results()
    assert outcomes(results) == ["done", "failed", "failed", "filtered", "truncated", "invalid", "done", "invalid"]
    assert "INTERNAL: broken" in results[1].error
    assert results[3].completion is not None
    assert results[3].completion.filtered
    assert results[4].usage.completion_tokens == 2
    assert results[5].error.startswith("text is ''")
    assert results[7].error == "another row has its id, '1'"
    assert emulator.generations[SUBMIT] == 6
    assert bulk.summary().outcomes == {"done": 2, "failed": 2, "filtered": 1, "invalid": 2, "truncated": 1}


def test_what_the_service_refuses_as_a_request_is_invalid(connect: Connect) -> None:
    refusal = Failure(grpc.StatusCode.INVALID_ARGUMENT, "number of input tokens must be no more than 8192, got 28498")
    with Emulator(duration=0, faults=[Fault(refusal, method=paths.COMPLETION_ASYNC, calls=1)]) as emulator:
        (result,) = connect(emulator).bulk(["a"]).results()
    assert result.outcome is yagrpc.RowOutcome.INVALID
    assert "no more than 8192" in result.error


SCHEMA = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}


def test_an_answer_that_does_not_follow_its_schema_is_a_mismatch(connect: Connect) -> None:
    with Emulator(duration=0, replies=REPLIES) as emulator:
        client = connect(emulator)
        results = client.bulk(["json", "other"], json_schema=SCHEMA, retries=0).results()
        own = client.bulk([{"text": "json", "json_schema": SCHEMA}, "json"], retries=0).results()
    assert outcomes(results) == ["schema_mismatch", "done"]
    assert results[0].error == "answer.n is not a string"
    assert outcomes(own) == ["schema_mismatch", "done"]


def test_a_schema_that_is_none_is_refused_and_that_of_a_row_makes_it_invalid(connect: Connect) -> None:
    rows = [{"text": "json", "json_schema": {"items": {"enum": 5}}}, "json"]
    bad: list[tuple[dict[str, Any], str]] = [
        ({"type": "strin"}, "json_schema.type is 'strin'"),
        ({"enum": 5}, "json_schema.enum"),
    ]
    with Emulator(duration=0, replies=REPLIES) as emulator:
        client = connect(emulator)
        for schema, reason in bad:
            with pytest.raises(yagrpc.RequestError, match=reason):
                client.bulk(["a"], json_schema=schema)
        results = client.bulk(rows).results()
        assert emulator.generations[SUBMIT] == 1
    assert outcomes(results) == ["invalid", "done"]
    assert results[0].error == "json_schema.items.enum is 5: it takes a list of values"


def test_an_answer_that_can_not_be_judged_ends_the_run_and_does_not_stop_it_for_ever(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raising(*given: object) -> str:
        raise ZeroDivisionError

    journal = tmp_path / "journal"
    with Emulator(duration=60) as emulator:
        client = connect(emulator)
        leave(client, ["a"], journal=journal, json_schema=SCHEMA)
        with monkeypatch.context() as patch:
            patch.setattr("yagrpc.bulk.recording.endings.mismatch", raising)
            bulk = client.bulk(["a"], journal=journal, json_schema=SCHEMA, progress=lambda _: emulator.advance(60))
            with pytest.raises(ZeroDivisionError):
                bulk.run()
        assert client.bulk(["a"], journal=journal, json_schema=SCHEMA).run().unfinished == {}
        assert emulator.generations[SUBMIT] == 1


WHOLE = {"modelUri": "gpt://folder/yandexgpt-lite/latest", "completionOptions": {"maxTokens": "5"}}


def test_a_retry_of_a_whole_request_has_more_tokens_or_another_model(connect: Connect) -> None:
    rows = [{**WHOLE, "messages": [{"role": "user", "text": text}]} for text in ("filter", "a longer text than that")]
    again: Any = {"truncated": {"max_tokens": "x2"}, "filtered": {"model": "yandexgpt-5.1"}}
    with Emulator(duration=0, replies=REPLIES) as emulator:
        connect(emulator).bulk(rows, retries=1, retry_on=again, json_schema=SCHEMA).results()
        sent: list[Any] = [each.request for each in emulator.requests if each.path == SUBMIT]
    tokens = [each.completion_options.max_tokens.value for each in sent if "longer" in each.messages[0].text]
    models = [each.model_uri.split("/")[-2] for each in sent if each.messages[0].text == "filter"]
    assert (tokens, models) == ([5, 10], ["yandexgpt-lite", "yandexgpt-5.1"])
    assert not any(each.HasField("json_schema") for each in sent)


def test_a_whole_request_that_an_earlier_run_has_sent_costs_what_its_own_model_does(
    connect: Connect, tmp_path: Path
) -> None:
    rows = [{**WHOLE, "messages": [{"role": "user", "text": "a"}]}]
    with Emulator(duration=60) as emulator:
        client = connect(emulator, model="yandexgpt-5-pro")
        leave(client, rows, journal=tmp_path / "journal")
        bulk = client.bulk(rows, journal=tmp_path / "journal", progress=lambda _: emulator.advance(60))
        (result,) = bulk.results()
    assert result.cost == result.usage.cost("yandexgpt-lite", "async")


def test_failures_that_may_not_come_again_are_tried_again(connect: Connect) -> None:
    answers = iter([Failure(grpc.StatusCode.INTERNAL, "once"), None])
    with Emulator(duration=0, replies=lambda request: next(answers)) as emulator:
        bulk = connect(emulator).bulk(["a"])
        (result,) = bulk.results()
    assert (result.outcome, result.attempts) == (yagrpc.RowOutcome.DONE, 2)
    assert bulk.summary().totals.repeated == 1


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_row_whose_timeout_is_over_before_it_is_sent_fails_at_once(connect: Connect, mode: Any) -> None:
    with Emulator(duration=0) as emulator:
        bulk = connect(emulator).bulk(["a"], timeout=0, retries=3, mode=mode)
        (result,) = bulk.results()
    assert (result.outcome.value, result.attempts, bulk.summary().totals.repeated) == ("failed", 0, 0)
    assert "the timeout of 0 s is over, nothing was sent" in str(result.error)
    assert not emulator.generations


def test_an_answer_is_kept_where_the_timeout_of_the_next_attempt_is_over(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(duration=0) as emulator:
        client, journal = connect(emulator), tmp_path / "journal"
        checked = Call.check

        def check(call: Any, *given: Any) -> None:
            checked(call, *given)
            if emulator.generations and call.recorder is not None:
                raise yagrpc.DeadlineExceededError("the timeout is over, nothing was sent", attempts=0)

        monkeypatch.setattr(Call, "check", check)
        bulk = client.bulk(["a longer text"], max_tokens=5, retry_on=["truncated"], journal=journal)
        (result,) = bulk.results()
    assert (result.outcome.value, result.attempts) == ("truncated", 1)
    assert "a later attempt ended as failed" in str(result.error)
    with contextlib.closing(sqlite3.connect(journal)) as database:
        assert database.execute("SELECT count(*) FROM attempt").fetchone() == (0,)


def test_retries_end(connect: Connect) -> None:
    with Emulator(duration=0, replies=REPLIES) as emulator:
        (result,) = connect(emulator).bulk(["boom"], retries=3).results()
    assert (result.outcome.value, result.attempts, emulator.generations[SUBMIT]) == ("failed", 4, 4)


def test_a_retry_may_have_more_tokens_or_another_model(connect: Connect) -> None:
    with Emulator(duration=0, replies=REPLIES) as emulator:
        again: Any = {"truncated": {"max_tokens": "x2"}, "filtered": {"model": "yandexgpt-5.1"}}
        bulk = connect(emulator).bulk(["filter", "a longer text than that"], max_tokens=5, retries=3, retry_on=again)
        bulk.results()
        sent: list[Any] = [each.request for each in emulator.requests if each.path == SUBMIT]
    tokens = [each.completion_options.max_tokens.value for each in sent if "longer" in each.messages[0].text]
    models = [each.model_uri.split("/")[-2] for each in sent if each.messages[0].text == "filter"]
    assert tokens == [5, 10, 20, 40][: len(tokens)]
    assert len(tokens) > 2
    assert models == ["yandexgpt", "yandexgpt-5.1", "yandexgpt-5.1", "yandexgpt-5.1"]


def test_an_answer_that_was_paid_for_stays_where_a_later_attempt_is_worse(connect: Connect, tmp_path: Path) -> None:
    def reply(request: Any) -> Any:
        more = request.completion_options.max_tokens.value > 5
        return Failure(grpc.StatusCode.INVALID_ARGUMENT, "not so many") if more else None

    with Emulator(duration=0, replies=reply) as emulator:
        again: Any = {"truncated": {"max_tokens": "x2"}}
        given: Any = {"max_tokens": 5, "retry_on": again, "model": "yandexgpt-5.1"}
        bulk = connect(emulator).bulk(["a longer text than that"], journal=tmp_path / "journal", **given)
        (result,) = bulk.results()
    assert (result.outcome, result.attempts, result.usage.completion_tokens) == (yagrpc.RowOutcome.TRUNCATED, 2, 5)
    assert result.text
    assert result.cost
    assert "a later attempt ended as failed: " in result.error
    assert "not so many" in result.error
    summary = bulk.summary()
    assert (summary.outcomes, summary.totals.repeated, summary.totals.cost) == ({"truncated": 1}, 1, result.cost)


def test_a_row_whose_tokens_cannot_be_counted_is_invalid(connect: Connect) -> None:
    refusal = Fault(Failure(grpc.StatusCode.INVALID_ARGUMENT, "too long"), method=paths.TOKENIZE_COMPLETION, calls=1)
    with Emulator(duration=0, faults=[refusal]) as emulator:
        rows = connect(emulator).bulk(["a", "b"], concurrency=1, model="yandexgpt-5.1", max_cost=100)
        results = rows.results()
    assert outcomes(results) == ["invalid", "done"]
    assert "too long" in results[0].error


def test_a_row_that_may_not_be_sent_again_keeps_its_answer(connect: Connect, tmp_path: Path) -> None:
    again: Any = {"truncated": {"max_tokens": "x100"}}
    given: Any = {"max_tokens": 5, "model": "yandexgpt-5.1", "journal": tmp_path / "journal", "max_cost": 0.1}
    with Emulator(duration=0) as emulator:
        bulk = connect(emulator).bulk([f"a longer text than that, {n}" for n in range(4)], retry_on=again, **given)
        results = bulk.results()
        assert emulator.generations == {SUBMIT: 4}
    assert outcomes(results) == ["truncated"] * 4
    assert all(result.text and result.cost and result.attempts == 1 for result in results)
    assert all("it was not sent: the next row could cost more than max_cost=0.1" in each.error for each in results)
    assert bulk.summary().unfinished == {}


@pytest.mark.parametrize(("policy", "outcome", "generations"), [("resubmit", "done", 2), ("fail", "ambiguous", 1)])
def test_a_lost_reply_follows_the_policy_and_is_counted(
    connect: Connect, policy: Any, outcome: str, generations: int
) -> None:
    with Emulator(duration=0, faults=[Fault(LostReply(), method=paths.COMPLETION_ASYNC, calls=1)]) as emulator:
        bulk = connect(emulator).bulk(["a"], on_ambiguous=policy)
        (result,) = bulk.results()
        assert (result.outcome.value, emulator.generations[SUBMIT]) == (outcome, generations)
        assert bulk.summary().totals.doubtful == generations - 1


@pytest.mark.parametrize(("given", "generations"), [({}, 3), ({"retries": 0}, 1), ({"retries": 9}, 5)])
def test_a_service_that_loses_every_reply_is_paid_as_often_as_retries_say_and_not_for_ever(
    connect: Connect, given: Any, generations: int
) -> None:
    with Emulator(duration=0, faults=[Fault(LostReply(), method=paths.COMPLETION_ASYNC)]) as emulator:
        (result,) = connect(emulator).bulk(["a"], **given).results()
        assert result.outcome.value == "ambiguous"
        assert emulator.generations[SUBMIT] == generations


@pytest.mark.parametrize(("policy", "outcome"), [("resubmit", "done"), ("fail", "ambiguous")])
def test_a_row_that_a_killed_process_has_left_on_its_way_is_sent_again_even_without_retries(
    connect: Connect, tmp_path: Path, policy: Any, outcome: str
) -> None:
    journal, (raw,) = tmp_path / "journal", rows_of(["a"], None)
    with contextlib.closing(JournalWriter(journal)) as writer:
        writer.commit([Intent(Fixed(0, None, 1, raw.fingerprint(), raw.source), 1, 0, "r", 1.0)])
    with Emulator(duration=0) as emulator:
        (result,) = connect(emulator).bulk(["a"], journal=journal, retries=0, on_ambiguous=policy).results()
    assert result.outcome.value == outcome


@pytest.mark.parametrize("policy", ["resubmit", "fail"])
def test_an_operation_that_has_expired_follows_the_policy(connect: Connect, tmp_path: Path, policy: Any) -> None:
    journal = tmp_path / "journal"
    with Emulator(duration=60) as emulator:
        client = connect(emulator)
        leave(client, ["a"], journal=journal, on_ambiguous=policy)
        emulator.reset()
        bulk = client.bulk(["a"], journal=journal, on_ambiguous=policy, progress=lambda _: emulator.advance(60))
        (result,) = bulk.results()
        assert result.outcome.value == ("done" if policy == "resubmit" else "expired")
        assert bulk.summary().totals.doubtful == (1 if policy == "resubmit" else 0)


def test_a_run_that_was_left_waits_for_what_it_submitted(connect: Connect, tmp_path: Path) -> None:
    journal, rows = tmp_path / "journal", [f"row {n}" for n in range(20)]
    with Emulator(duration=60) as emulator:
        client = connect(emulator)
        leave(client, rows, journal=journal)
        emulator.advance(60)
        results = client.bulk([*rows, "appended"], journal=journal, progress=lambda _: emulator.advance(60)).results()
        assert outcomes(results) == ["done"] * 21
        assert emulator.generations[SUBMIT] == 21
        assert [result.row for result in results] == [*rows, "appended"]


def test_a_finished_run_sends_nothing_again_and_gives_all_results(connect: Connect, tmp_path: Path) -> None:
    rows = [f"row {n}" for n in range(10)]
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        first = client.bulk(rows, journal=tmp_path / "journal").results()
        again = list(client.bulk(rows, journal=tmp_path / "journal"))
        assert emulator.generations[SUBMIT] == 10
    assert {each.operation_id for each in first} == {each.operation_id for each in again}


@pytest.mark.parametrize(
    ("rows", "changed", "reason"),
    [
        (["a", "x", "c"], {}, r"row 2 \(line 2\) is not the one that the journal has: it is \"x\", and was \"b\""),
        (["a"], {}, "the input has 1 rows, and the journal has had more"),
        (["a", "b", "c"], {"system": "s"}, "other options: system was None, and is 's'"),
        (["a", "b", "c"], {"model": "m", "temperature": 0}, "model was 'yandexgpt', and is 'm'; temperature was None"),
        (["a", "b", "c"], {"mode": "sync"}, "mode was 'async', and is 'sync'"),
        (pandas.Series(["a", "b", "c"]).to_frame("text"), {}, "table was None, and is True"),
    ],
)
def test_another_run_is_refused_with_its_difference(
    connect: Connect, tmp_path: Path, rows: Any, changed: Any, reason: str
) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(["a", "b", "c"], journal=tmp_path / "journal").results()
        with pytest.raises(yagrpc.ConfigError, match=reason):
            client.bulk(rows, journal=tmp_path / "journal", **changed).results()
        assert emulator.calls[SUBMIT] == 3


def test_what_changes_no_request_may_change(connect: Connect, tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(["a", "b"], journal=tmp_path / "j", limit=1).results()
        results = client.bulk(["a", "b"], journal=tmp_path / "j", concurrency=2, retries=5, max_failures=9).results()
    assert outcomes(results) == ["done", "done"]


def test_a_limit_below_the_rows_of_the_journal_is_refused_as_that(connect: Connect, tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(["a", "b", "c"], journal=tmp_path / "j").results()
        with pytest.raises(yagrpc.ConfigError, match="limit is 2, and the journal has more rows: give a greater one"):
            client.bulk(["a", "b", "c"], journal=tmp_path / "j", limit=2).results()


def test_a_credential_that_is_refused_ends_the_run_and_costs_no_row(connect: Connect, tmp_path: Path) -> None:
    rows = [f"row {n}" for n in range(100)]
    with Emulator(duration=0, auth={"Api-Key right"}) as emulator:
        wrong = connect(emulator, credentials=yagrpc.ApiKey("wrong"))
        with pytest.raises(yagrpc.UnauthenticatedError):
            wrong.bulk(rows, journal=tmp_path / "journal").results()
        right = connect(emulator, credentials=yagrpc.ApiKey("right"))
        bulk = right.bulk(rows, journal=tmp_path / "journal")
        assert outcomes(bulk.results()) == ["done"] * 100
        assert bulk.summary().totals.doubtful == 0


def test_rows_that_raise_end_the_run_with_their_own_error(connect: Connect, tmp_path: Path) -> None:
    def rows(fails: bool) -> Iterator[str]:
        yield "a"
        if fails:
            raise ZeroDivisionError("in the rows")
        yield "b"

    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        with pytest.raises(ZeroDivisionError, match="in the rows"):
            client.bulk(rows(True), journal=tmp_path / "journal").results()
        assert outcomes(client.bulk(rows(False), journal=tmp_path / "journal").results()) == ["done", "done"]
        assert emulator.generations[SUBMIT] == 2


def test_too_many_failures_stop_it(connect: Connect) -> None:
    with Emulator(duration=0, replies=REPLIES) as emulator:
        client = connect(emulator)
        bulk = client.bulk(["boom"] * 200, retries=0, max_failures=10, concurrency=1)
        assert len(bulk.results()) == 11
        share = client.bulk(["boom"] * 200, retries=0, max_failures="50%", concurrency=1)
        assert len(share.results()) == 20


def test_the_cost_stays_below_its_limit(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator, model="yandexgpt-5-pro")
        bulk = client.bulk([f"row {n}" for n in range(100)], max_cost=0.5, max_tokens=30)
        results = bulk.results()
        cost = bulk.summary().totals.cost
        assert cost is not None
        assert 0.4 < cost <= 0.5
        assert 5 < len(results) < 100
        assert sum(result.cost or 0 for result in results) == pytest.approx(cost)


def test_a_price_that_is_not_known_is_no_cost_and_no_limit(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        bulk = client.bulk(["a"])
        assert bulk.results()[0].cost is None
        assert bulk.summary().totals.cost is None
        with pytest.raises(yagrpc.ConfigError, match="max_cost needs the price of yandexgpt, which is not known"):
            client.bulk(["a"], max_cost=1)
        own: Any = {"yandexgpt": {"async": 1000}}
        (result,) = client.bulk(["a"], prices=own).results()
        assert result.cost == result.usage.total_tokens


def test_a_row_whose_own_model_has_no_known_price_is_invalid_and_the_run_goes_on(connect: Connect) -> None:
    rows = ["a", {"text": "b", "model": "dear-model"}, "c"]
    with Emulator(duration=0) as emulator:
        client = connect(emulator, model="yandexgpt-5.1")
        results = client.bulk(rows, max_cost=5, max_tokens=100, concurrency=1).results()
        assert emulator.generations[SUBMIT] == 2
    assert outcomes(results) == ["done", "invalid", "done"]
    remedy = "max_cost needs its price, which is not known: give prices= (--prices)"
    assert results[1].error == f"model is 'gpt://folder/dear-model/latest': {remedy}"


def test_the_model_of_a_retry_needs_a_price_too(connect: Connect) -> None:
    again: Any = {"truncated": {"model": "dear-model"}}
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match="max_cost needs the price of dear-model"):
        connect(emulator, model="yandexgpt-5.1").bulk(["a"], max_cost=5, retry_on=again)


def test_synchronous_answers(connect: Connect) -> None:
    with Emulator(replies=REPLIES) as emulator:
        bulk = connect(emulator).bulk(["a", "filter", "boom"], mode="sync", on_ambiguous="fail")
        assert outcomes(bulk.results()) == ["done", "filtered", "ambiguous"]
        assert emulator.generations == {SYNC: 3}
        assert not emulator.operations


def test_vectors_and_tokens(connect: Connect) -> None:
    with Emulator() as emulator:
        client = connect(emulator)
        vectors = client.bulk(["a", "b", ""], task="embed")
        assert [len(result.embedding or []) for result in vectors.results()] == [256, 256, 0]
        assert vectors.to_pandas()["outcome"].tolist() == ["done", "done", "invalid"]
        assert [result.attempts for result in vectors.results()] == [1, 1, 0]
        assert [result.tokens for result in client.bulk(["a b c"], task="tokenize").results()] == [3]
        with pytest.raises(yagrpc.ConfigError, match="system is of a completion"):
            client.bulk(["a"], task="embed", system="s")


def test_a_frame_becomes_a_frame(connect: Connect) -> None:
    frame = pandas.DataFrame({"review": ["a", float("nan"), "b"], "text": [1, 2, 3]}, index=["x", "y", "z"])
    with Emulator(duration=0) as emulator:
        found = connect(emulator).bulk(frame, text="review", system="s").to_pandas()
    assert list(found.index) == ["x", "y", "z"]
    assert found["outcome"].tolist() == ["done", "invalid", "done"]
    assert found["input_text"].tolist() == [1, 2, 3]
    assert found["text"].iloc[0].startswith('You wrote: "a"')
    assert list(frame.columns) == ["review", "text"]


@pytest.mark.parametrize("library", [pandas, polars])
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "there is no column 'text': name that of the texts by text=; there are review, n"),
        ({"text": "nope"}, "there is no column 'nope': name that of the texts by text=; there are review, n"),
        ({"template": "{review} {m}"}, "there is no column 'm', which template= names; there are review, n"),
        ({"text": "review", "key": "id"}, "there is no column 'id': key= takes one of review, n"),
    ],
)
def test_a_column_that_a_frame_has_not_is_refused_with_those_that_it_has(
    connect: Connect, library: Any, given: Any, reason: str
) -> None:
    frame = library.DataFrame({"review": ["a"], "n": [1]})
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError) as raised:
        connect(emulator).bulk(frame, **given)
    assert str(raised.value) == reason


def test_other_rows_become_frames_too(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        series = client.bulk(pandas.Series(["a", "b"], index=[7, 8], name="review")).to_pandas()
        other = client.bulk(polars.DataFrame({"text": ["a"], "n": [5]})).to_pandas()
        plain = client.bulk([{"text": "a", "n": 5}, "b"]).to_pandas()
    assert (list(series.index), series["review"].tolist()) == ([7, 8], ["a", "b"])
    assert (other["n"].tolist(), other["input_text"].tolist()) == ([5], ["a"])
    assert plain["input_text"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "column"), [("review", "review"), ("text", "input_text"), ("cost", "input_cost"), ("", "input_text")]
)
def test_a_series_of_polars_keeps_its_name(connect: Connect, name: str, column: str) -> None:
    with Emulator(duration=0) as emulator:
        found = connect(emulator).bulk(polars.Series(name, ["a", None])).to_pandas()
    assert list(found.columns[:3]) == [column, "text", "outcome"]
    assert found[column].tolist()[0] == "a"


@pytest.mark.parametrize("rows", [["a", "b"], pandas.Series(["a", "b"])])
def test_costs_of_a_frame_are_numbers_where_none_is_known(connect: Connect, rows: Any) -> None:
    with Emulator(duration=0) as emulator:
        found = connect(emulator).bulk(rows, model="yandexgpt").to_pandas()
    assert found["cost"].dtype == "float64"
    assert found["cost"].isna().all()


def test_a_frame_with_two_columns_of_one_name_is_refused(connect: Connect) -> None:
    frame = pandas.DataFrame([["a", "b", 1]], columns=["text", "text", "n"])
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match="two columns named 'text': name each column"):
        connect(emulator).bulk(frame, journal="unused").results()
    assert emulator.generations[SUBMIT] == 0


@pytest.mark.parametrize("rows", [pandas.array(["a", "b"]), pandas.Categorical(["a", "b"]), pandas.Index(["a", "b"])])
def test_whatever_of_pandas_is_iterated_becomes_a_frame(connect: Connect, rows: Any) -> None:
    with Emulator(duration=0) as emulator:
        found = connect(emulator).bulk(rows).to_pandas()
    assert (found["input_text"].tolist(), found["outcome"].tolist()) == (["a", "b"], ["done", "done"])


def test_a_frame_of_another_library_is_refused(connect: Connect) -> None:
    class DataFrame(list[str]):
        """As those of dask and modin: iterating it gives the names of its columns."""

    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match="it takes one of pandas or polars, or its"):
        connect(emulator).bulk(DataFrame(["review"]))


@pytest.mark.parametrize(
    ("journal", "said"),
    [
        ("a\0b", "can't be used: no file has such a name"),
        ("a\ud800b", "can't be used: no file has such a name"),
        ("a" * 300, "can't be locked: File name too long"),
        (".", "it takes the path of a file"),
        (b"journal", "it takes the path of a file"),
    ],
)
def test_a_journal_that_no_file_can_be_is_refused(connect: Connect, journal: Any, said: str) -> None:
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match=said):
        next(iter(connect(emulator).bulk(["a"], journal=journal)))


def test_retries_may_be_a_number_of_numpy(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        assert connect(emulator).bulk(["a"], retries=numpy.int64(1)).run().outcomes == {"done": 1}


def test_progress_is_reported(connect: Connect) -> None:
    seen: list[yagrpc.Progress] = []
    with Emulator(duration=0) as emulator:
        connect(emulator).bulk(["a", ""], progress=seen.append).results()
    last = seen[-1]
    assert (last.total, last.ended, last.failed, last.outcomes) == (2, 2, 1, {"done": 1, "invalid": 1})
    assert last.line().startswith("2 of 2 rows, 0 running, 1 done, 1 invalid, ")


def test_two_runs_of_one_journal_are_refused(connect: Connect, tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        results = iter(client.bulk([f"row {n}" for n in range(1000)], journal=tmp_path / "journal"))
        next(results)
        with pytest.raises(yagrpc.ConfigError, match="in use by process"):
            client.bulk(["a"], journal=tmp_path / "journal").results()
        results.close()  # type: ignore[attr-defined]


def test_a_run_whose_journal_is_in_use_takes_no_part_in_shared_quotas(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: set[str] = set()
    join = SqliteStore.join

    def seen(store: SqliteStore, participant: str, *given: Any) -> None:
        joined.add(participant)
        join(store, participant, *given)

    monkeypatch.setattr(SqliteStore, "join", seen)
    with Emulator(duration=0) as emulator:
        client = connect(emulator, share=tmp_path / "share", quota=yagrpc.Quota())
        bulk = client.bulk(["a"], journal=tmp_path / "journal")
        with contextlib.closing(JournalWriter(tmp_path / "journal")):
            for _ in range(3):
                with pytest.raises(yagrpc.JournalInUseError):
                    bulk.run()
        assert len(joined) == 1  # the client itself
        assert bulk.run().outcomes == {"done": 1}
        assert len(joined) == 2


def test_a_client_with_channels_of_its_own_is_refused(connect: Connect) -> None:
    with Emulator() as emulator, grpc.insecure_channel(emulator.address) as channel:
        client = connect(emulator, endpoint=None, plaintext=False, channel=channel)
        with pytest.raises(yagrpc.ConfigError, match="this client's channel: use AsyncClient"):
            client.bulk(["a"])


BAD: list[tuple[dict[str, Any], str]] = [
    ({"mode": numpy.array(["async", "sync"])}, "mode is array"),
    ({"on_ambiguous": pandas.NA}, "on_ambiguous is <NA>"),
    ({"mode": "batch"}, "mode is 'batch': it takes async or sync"),
    ({"task": "draw"}, "task is 'draw'"),
    ({"concurrency": 0}, "concurrency is 0: it takes a whole number above 0"),
    ({"limit": True}, "limit is True"),
    ({"max_cost": -1}, "max_cost is -1"),
    ({"max_failures": "lots"}, "max_failures is 'lots': it takes a number of rows"),
    ({"max_failures": "100%"}, "max_failures is '100%'"),
    ({"on_ambiguous": "ask"}, "on_ambiguous is 'ask': it takes 'resubmit' or 'fail'"),
    ({"retries": -1}, "retries is -1"),
    ({"retry_on": "failed"}, "retry_on is 'failed': it takes outcomes"),
    ({"retry_on": ["done"]}, "retry_on holds 'done': it takes truncated"),
    ({"retry_on": {"failed": 5}}, "retry_on['failed'] is 5: it takes max_tokens, model, temperature"),
    ({"retry_on": {"failed": {"sytem": "x"}}}, "retry_on['failed'] has 'sytem': it takes max_tokens, model, temper"),
    ({"retry_on": {"truncated": {"max_token": "x2"}}}, "has 'max_token': it takes max_tokens, model, temperature; did"),
    ({"retry_on": {"truncated": {"max_tokens": "x0.5"}}}, "'x0.5': it takes a whole number, or a factor over 1 and up"),
    ({"retry_on": {"truncated": {"max_tokens": "x1000"}}}, "a factor over 1 and up to 100, such as 'x2'"),
    ({"journal": 5}, "journal is 5: it takes the path of a file"),
    ({"key": 5}, "key is 5: it takes the name of a column"),
    ({"text": ""}, "text is ''"),
    ({"template": "x"}, "template is 'x'"),
    ({"prices": {"a": {"async": "x"}}}, "prices are JSON such as"),
    ({"strict": True}, "bulk takes no strict"),
    ({"resubmit": True}, "bulk takes no resubmit"),
]


@pytest.mark.parametrize(("given", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_setting_that_cant_work_is_refused(connect: Connect, given: Any, reason: str) -> None:
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError) as raised:
        connect(emulator).bulk(["a"], **given)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("temperature", 5, "5: it takes a number from 0 to 1"),
        ("temperature", "abc", "'abc': it takes a number from 0 to 1"),
        ("max_tokens", -5, "-5: it takes a whole number above 0"),
        ("model", "", "'': it takes NAME, NAME/BRANCH"),
    ],
)
def test_a_change_that_cant_be_sent_is_refused_before_the_first_attempt(
    connect: Connect, name: str, value: Any, reason: str
) -> None:
    changes = {"truncated": {"max_tokens": "x2", name: value}}
    with Emulator() as emulator, pytest.raises(yagrpc.RequestError) as raised:
        connect(emulator).bulk(["a"], retry_on=changes)
    assert str(raised.value).startswith(f"retry_on['truncated'][{name!r}] is {reason}")


@pytest.mark.parametrize("rows", ["a text", b"bytes", {"text": "a"}, 5])
def test_what_is_no_iterable_of_rows_is_refused(connect: Connect, rows: Any) -> None:
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match="rows is"):
        connect(emulator).bulk(rows)


def test_a_key_is_noted_whatever_its_characters_are(connect: Connect, tmp_path: Path) -> None:
    rows = [{"text": "a", "k\ud800": "one"}]
    with Emulator(duration=0) as emulator:
        for _ in range(2):
            (result,) = connect(emulator).bulk(rows, key="k\ud800", journal=tmp_path / "journal").results()
            assert result.id == "one"


def test_an_unknown_argument_is_refused_with_the_nearest(connect: Connect) -> None:
    with Emulator() as emulator, pytest.raises(TypeError, match="bulk.*'max_costs': did you mean 'max_cost'"):
        connect(emulator).bulk(["a"], max_costs=1)  # type: ignore[call-arg]


async def test_a_full_disk_sends_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "_PAUSE", 0.01)
    rows = [f"{n} " + "x" * 3000 for n in range(100)]
    with Emulator(duration=0) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            bulk = client.bulk(rows, journal=tmp_path / "journal", concurrency=4)

            def small(*given: Any) -> Any:
                writer = open_journal(*given)
                writer._connection.execute("PRAGMA max_page_count = 40")
                settled.append(writer)
                return writer

            settled: list[Any] = []
            monkeypatch.setattr("yagrpc.bulk.asynchronous.open_journal", small)

            async def free() -> None:
                """Somebody makes room, once the disk was full."""
                while not (bulk.engine is not None and bulk.engine.stopped):  # noqa: ASYNC110 - nothing reports it
                    await asyncio.sleep(0.01)
                with contextlib.suppress(sqlite3.ProgrammingError):  # closed: what was known was written in time
                    settled[0]._connection.execute("PRAGMA max_page_count = 1073741823")

            freeing = asyncio.create_task(free())
            with pytest.raises(yagrpc.JournalError, match="full"):
                await bulk.run()
            await freeing
            sent = emulator.generations[SUBMIT]
            assert 0 < sent < 100
            monkeypatch.undo()
            again = client.bulk(rows, journal=tmp_path / "journal")
            assert outcomes(await again.results()) == ["done"] * 100
            assert emulator.generations[SUBMIT] == 100
            assert again.summary().totals.doubtful == 0


async def test_a_disk_that_stays_full_names_the_operations_that_it_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(commits, "_PAUSE", 0.01)
    monkeypatch.setattr(commits, "PATIENCE", 0.05)
    with Emulator(duration=60) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            bulk = client.bulk(["a"], journal=tmp_path / "journal")

            def failing(*given: Any) -> Any:
                writer = open_journal(*given)
                commit = writer.commit

                def once(changes: Any) -> None:
                    if any(type(each).__name__ == "Accepted" for each in changes):
                        raise yagrpc.JournalError("journal can't be written: disk I/O error") from sqlite3.Error()
                    commit(changes)

                monkeypatch.setattr(writer, "commit", once)
                return writer

            monkeypatch.setattr("yagrpc.bulk.asynchronous.open_journal", failing)
            monkeypatch.setattr("yagrpc.bulk.engine.stopping.GRACE", 0.01)
            with pytest.raises(yagrpc.JournalError, match=f"the operations {emulator_id(emulator)}") as raised:
                await bulk.run()
            assert "journal can't be written: disk I/O error: 1 change could not be written in 0 s; " in str(
                raised.value
            )
            assert [*raised.value.operation_ids] == [operation.id for operation in emulator.operations]
    gc.collect()
    assert "never retrieved" not in caplog.text  # of a commit that started after the thread of the commits had ended


def emulator_id(emulator: Emulator) -> str:
    """What stands for the id of the one operation: it is not known before it is submitted."""
    return r"d7q\w{17}"


async def test_an_outage_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("yagrpc.bulk.engine.outage.FIRST_PAUSE", 0.01)
    refusal = Failure(grpc.StatusCode.UNAVAILABLE, "not now")
    with Emulator(duration=0, faults=[Fault(refusal, method=paths.COMPLETION_ASYNC, times=7)]) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            bulk = client.bulk(["a", "b"], on_ambiguous="fail", concurrency=1)
            results = await bulk.results()
    assert set(outcomes(results)) <= {"done", "ambiguous"}
    assert FREE


async def test_a_run_that_is_stopped_does_not_wait_for_the_hours_quota(tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        quota = yagrpc.Quota(**{**FREE, "submit_per_hour": 3})
        async with yagrpc.AsyncClient(**settings(emulator, quota=quota)) as client:
            bulk = client.bulk([f"row {n}" for n in range(10)], journal=tmp_path / "journal")
            bulk.committed = lambda: bulk.stop() if bulk.summary().outcomes.get("done") == 3 else None
            summary = await bulk.run()
        assert summary.outcomes == {"done": 3}
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            again = client.bulk([f"row {n}" for n in range(10)], journal=tmp_path / "journal")
            assert outcomes(await again.results()) == ["done"] * 10
    assert again.summary().totals.doubtful == 0
    assert emulator.generations[SUBMIT] == 10


def test_a_run_that_has_not_started_has_no_summary(connect: Connect, tmp_path: Path) -> None:
    with Emulator() as emulator, pytest.raises(yagrpc.ConfigError, match="the run has not started"):
        connect(emulator).bulk(["a"], journal=tmp_path / "journal").summary()


async def test_news_that_comes_before_it_is_awaited_is_not_missed() -> None:
    """Rows may be committed between the moment when a reader found none and the next step of the event loop."""
    news = News()
    waiting = news.wait()
    news.wake()
    await asyncio.wait_for(waiting, 60)


def test_a_run_may_be_iterated_again(connect: Connect) -> None:
    with Emulator(duration=0) as emulator:
        bulk = connect(emulator).bulk(["a", "b", "c"])
        for _ in bulk:
            break
        assert sorted(result.number for result in bulk) == [0, 1, 2]
        assert [result.number for result in bulk] == [0, 1, 2]
        assert emulator.generations[SUBMIT] == 3


def test_pending_rows_take_little_memory(connect: Connect) -> None:
    """What is kept of a row whose operation runs: its handle, its watch, and which row it is."""
    import tracemalloc

    count = 2000
    with Emulator(duration=3600) as emulator:
        rarely = yagrpc.Polling(3600.0, 3600.0, 3600.0)  # no Get is under way, which takes memory of its own
        bulk = connect(emulator, polling=rarely).bulk(f"{n} " + "x" * 2000 for n in range(count))
        sizes: list[int] = []

        def seen(progress: yagrpc.Progress) -> None:
            if progress.running == count and not sizes:
                sizes.append(sum(trace.size for trace in taken()))
                assert bulk._thread is not None
                bulk._thread.abort(bulk._bulk.abort)

        def taken() -> Any:
            parts = ("*/yagrpc/bulk/*", "*/yagrpc/_core/*", "*/yagrpc/_aio/*")
            return tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, part) for part in parts]).traces

        bulk._bulk._report = seen
        tracemalloc.start()
        try:
            bulk.run()
        finally:
            tracemalloc.stop()
    assert sizes[0] / count <= 2048


@pytest.mark.parametrize("text", ["in the callback", ""])
def test_a_callback_that_fails_ends_the_run_with_its_error(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("yagrpc.bulk.engine.stopping.GRACE", 0.01)

    def fails(progress: yagrpc.Progress) -> None:
        raise ZeroDivisionError(text)

    with Emulator(duration=3600) as emulator:
        bulk = connect(emulator).bulk(["a"], progress=fails)
        with pytest.raises(ZeroDivisionError, match=f"^{text}$"):
            bulk.results()


async def test_a_submit_that_is_answered_while_the_run_ends_is_recorded(tmp_path: Path) -> None:
    delayed = Fault(Delay(0.3), method=paths.COMPLETION_ASYNC)
    with Emulator(duration=0, faults=[delayed]) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            bulk = client.bulk(["a"], journal=tmp_path / "journal")
            running = asyncio.create_task(bulk.run())
            while not emulator.calls[SUBMIT]:  # noqa: ASYNC110 - the emulator does not report it
                await asyncio.sleep(0.01)
            bulk.abort()
            await running
            assert bulk.summary().unfinished == {"running": 1}
            assert outcomes(await client.bulk(["a"], journal=tmp_path / "journal").results()) == ["done"]
    assert emulator.generations[SUBMIT] == 1


async def test_an_output_on_a_full_disk_ends_the_run_and_the_next_one_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "out.jsonl"
    with Emulator(duration=0) as emulator:
        async with yagrpc.AsyncClient(**settings(emulator)) as client:
            for fails in (True, False):
                bulk = client.bulk(["a", "b", "c"], journal=tmp_path / "journal")
                bulk.output = GrowingOutput(path, "completion", table=False, ordered=True)
                if fails:
                    monkeypatch.setattr(bulk.output, "write", full)
                    with pytest.raises(OSError, match="No space left"):
                        await bulk.run()
                else:
                    await bulk.run()
    assert len(path.read_text().splitlines()) == 3
    assert emulator.generations[SUBMIT] == 3


def test_a_clock_that_is_set_back_changes_nothing(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"row {n}" for n in range(6)]
    with Emulator(duration=0) as emulator:
        client = connect(emulator)
        client.bulk(rows, journal=tmp_path / "journal", limit=3).results()
        back = types.SimpleNamespace(time=lambda: 1000.0, monotonic=time.monotonic)
        monkeypatch.setattr("yagrpc.bulk.recording.endings.time", back)
        bulk = client.bulk(rows, journal=tmp_path / "journal")
        assert {result.number for result in list(bulk)[:3]} == {0, 1, 2}
        assert outcomes(bulk.results()) == ["done"] * 6
        assert bulk.results()[5].ended_at.year == 1970


def test_a_run_and_its_blocking_client_stay_under_the_quotas_together(connect: Connect) -> None:
    with Emulator(duration=0, quota=EmulatorQuota(submit_per_second=10)) as emulator:
        client = connect(emulator, quota=yagrpc.Quota(**{**FREE, "submit_per_second": 10}))
        started = threading.Event()
        bulk = client.bulk([f"row {n}" for n in range(30)], progress=lambda progress: started.set())
        summaries: list[Any] = []
        thread = threading.Thread(target=lambda: summaries.append(bulk.run()))
        thread.start()
        assert started.wait(60)
        ids = {client.completion_async(f"beside the run {n}", timeout=60).id for n in range(20)}
        thread.join()
        assert summaries[0].outcomes == {"done": 30}
        assert len(ids) == 20
        assert emulator.generations[SUBMIT] == 50
        assert not [count for (path, _), count in emulator.refusals.items() if path == SUBMIT]
        assert client.limits.submit_per_second.used > 0
        assert client.completion_async("after the run").id, "the run has not closed what its client still uses"


def test_a_run_of_a_blocking_client_that_is_closed_meanwhile_goes_to_its_end(tmp_path: Path) -> None:
    with Emulator(duration=0) as emulator:
        client = yagrpc.Client(**settings(emulator, quota=yagrpc.Quota(**{**FREE, "submit_per_second": 20})))
        bulk = client.bulk([f"row {n}" for n in range(40)], journal=tmp_path / "journal")
        first = next(iter_of := iter(bulk))
        client.close()
        client.close()
        assert sorted([first.number, *(result.number for result in iter_of)]) == list(range(40))
        with pytest.raises(yagrpc.ClientClosedError):
            client.bulk(["another"])


def test_a_run_stays_under_the_quotas(connect: Connect) -> None:
    with Emulator(duration=0.2, quota=EmulatorQuota(submit_per_second=20, get_per_second=50)) as emulator:
        client = connect(emulator, quota=yagrpc.Quota(submit_per_second=20), polling=yagrpc.Polling())
        assert outcomes(client.bulk([f"row {n}" for n in range(50)]).results()) == ["done"] * 50
        assert not emulator.refusals
        assert emulator.most_in_a_second[SUBMIT] <= 20

"""`text_embedding` on both clients: one text and many, in order, under the quota, and what ends it."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import math
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import numpy
import pandas  # type: ignore[import-untyped]
import pytest

import yagrpc
from yagrpc import _pb
from yagrpc._aio.methods import base
from yagrpc._core.call.policy import POLICIES
from yagrpc._core.events import Events
from yagrpc.emulator import Emulator, EmulatorQuota, paths

Response = _pb.embedding_service_pb2.TextEmbeddingResponse
DOC, QUERY = "text-embeddings-v2-doc", "text-embeddings-v2-query"


def texts_of(emulator: Emulator) -> list[str]:
    """The texts that arrived, in order."""
    return [sent.request.text for sent in emulator.requests]  # type: ignore[attr-defined]


def waiting(client: Any) -> int:
    number = client.limits.embeddings_per_second.waiting
    assert isinstance(number, int)
    return number


def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, as another thread makes it."""
    while not condition():
        threading.Event().wait(0.001)


class Gateway:
    """Answers texts when it is let, and keeps which of them ran at once and which were cancelled.

    A text `fail` is refused as soon as `failing` is set.
    """

    def __init__(self) -> None:
        self.go, self.failing = threading.Event(), threading.Event()
        self.arrived: list[str] = []
        self.cancelled: list[str] = []
        self.running = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, request: Any, context: grpc.ServicerContext) -> Response:
        gone = threading.Event()
        if not context.add_callback(gone.set):
            gone.set()  # cancelled on the way
        with self._lock:
            self.arrived.append(request.text)
            self.running += 1
            self.most = max(self.most, self.running)
        ready = self.failing if request.text == "fail" else self.go
        while not ready.wait(0.005) and not gone.is_set():
            pass
        with self._lock:
            self.running -= 1
        if gone.is_set():
            self.cancelled.append(request.text)
        if request.text == "fail":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "as asked")
        return Response(embedding=[float(len(request.text)), 1.0], num_tokens=1, model_version="1")


def failing_when(gateway: Gateway, condition: Callable[[], bool]) -> threading.Thread:
    """Have the text `fail` refused when something is so, from another thread."""

    def fail() -> None:
        until(condition)
        gateway.failing.set()

    thread = threading.Thread(target=fail)
    thread.start()
    return thread


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    found = Gateway()
    yield found
    found.go.set()
    found.failing.set()


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> float:
    """A default timeout that a test can wait for, in seconds; a busy machine answers within it."""
    seconds = 2.5
    monkeypatch.setitem(POLICIES, paths.TEXT_EMBEDDING, POLICIES[paths.TEXT_EMBEDDING]._replace(timeout=seconds))
    return seconds


# One text


def test_one_text_gives_one_vector(subject: Any, client: Any, emulator: Emulator) -> None:
    embeddings = subject(client.text_embedding("hello", request_id="r-1"))
    assert isinstance(embeddings, yagrpc.Embeddings)
    assert len(embeddings) == len(embeddings.vectors) == 1
    assert len(embeddings[0]) == 256
    assert math.hypot(*embeddings.vectors[0]) == pytest.approx(1)
    assert embeddings.usage == yagrpc.Usage(3, 0, 3, 0)
    assert embeddings.model_version == "yagrpc-emulator"
    assert embeddings.ids.client_request_id == "r-1"
    assert embeddings.ids.request_id
    assert embeddings.all_ids == (embeddings.ids,)
    expected = _pb.embedding_service_pb2.TextEmbeddingRequest(model_uri=f"emb://folder/{DOC}/latest", text="hello")
    assert emulator.requests[-1].request == expected


@pytest.mark.parametrize(
    ("parameters", "uri", "length"),
    [
        ({"model": "text-search-doc"}, "emb://folder/text-search-doc/latest", 256),
        ({"model": "text-search-query/rc"}, "emb://folder/text-search-query/rc", 256),
        ({"model": QUERY, "dim": None}, f"emb://folder/{QUERY}/latest", 256),
        ({"dim": 256}, f"emb://folder/{DOC}/latest", 256),
        ({"model": QUERY, "dim": 768}, f"emb://folder/{QUERY}/latest", 768),
        ({"dim": numpy.int64(768)}, f"emb://folder/{DOC}/latest", 768),
        ({"model": f"emb://elsewhere/{QUERY}/", "dim": 768}, f"emb://elsewhere/{QUERY}/", 768),
        (
            {"model": "gpt://folder/text-embeddings/latest@suffix", "dim": 7},
            "gpt://folder/text-embeddings/latest@suffix",
            7,
        ),
        ({"model": "text-embeddings", "dim": 1536}, "emb://folder/text-embeddings/latest", 1536),
    ],
)
def test_models_and_their_dimensions(
    subject: Any, client: Any, emulator: Emulator, parameters: dict[str, Any], uri: str, length: int
) -> None:
    assert len(subject(client.text_embedding("hello", **parameters))[0]) == length
    request: Any = emulator.requests[-1].request
    assert request.model_uri == uri
    assert request.HasField("dim") is (parameters.get("dim") is not None)


def test_a_query_finds_its_document(subject: Any, client: Any) -> None:
    documents = numpy.asarray(subject(client.text_embedding(["Bread needs flour", "The platypus lives in Australia"])))
    query = numpy.asarray(subject(client.text_embedding("Where does the platypus live?", model=QUERY)))
    assert int(numpy.argmax(documents @ query[0])) == 1


def test_the_model_of_the_client_is_one_of_generation(subject: Any, emulator: Emulator) -> None:
    subject(subject.client(emulator, model="yandexgpt-lite").text_embedding("hello"))
    assert emulator.requests[-1].request.model_uri == f"emb://folder/{DOC}/latest"  # type: ignore[attr-defined]


# Many texts


@pytest.mark.usefixtures("counted_when_answered")
def test_forty_texts_at_the_documented_quota(subject: Any) -> None:
    texts = [f"number {number}" for number in range(40)]
    with Emulator(quota=EmulatorQuota()) as emulator:
        client = subject.client(emulator)
        embeddings = subject(client.text_embedding(iter(texts)))
        assert len(embeddings) == 40
        assert emulator.calls[paths.TEXT_EMBEDDING] == 40
        assert emulator.refusals == {}
        assert emulator.most_in_a_second[paths.TEXT_EMBEDDING] <= 10
        assert sorted(texts_of(emulator)) == sorted(texts)
        assert len({ids.client_request_id for ids in embeddings.all_ids}) == 40
        assert embeddings.usage.total_tokens == sum(proto.num_tokens for proto in embeddings.protos)
    with Emulator() as unlimited:
        alone = subject.client(unlimited, quota=None)
        assert embeddings.vectors == [subject(alone.text_embedding(text))[0] for text in texts]


def test_so_many_run_at_once_and_no_more_texts_are_read(subject: Any, served: Any, gateway: Gateway) -> None:
    served.server.stop(None)
    client = subject.client(endpoint=wide(gateway, served), plaintext=True, quota=None)
    read = []

    def texts() -> Iterator[str]:
        for number in range(50):
            read.append(number)
            yield f"number {number}"

    def let_go() -> Any:
        until(lambda: gateway.running == base.AT_ONCE)
        assert len(read) <= base.AT_ONCE + 1
        gateway.go.set()

    thread = threading.Thread(target=let_go)
    thread.start()
    embeddings = subject(client.text_embedding(texts()))
    thread.join()
    assert [vector[0] for vector in embeddings] == [len(f"number {number}") for number in range(50)]
    assert gateway.most == base.AT_ONCE


def wide(gateway: Gateway, served: Any) -> str:
    """The address of a server that has room for more than run at once."""
    from concurrent import futures

    served.server = grpc.server(futures.ThreadPoolExecutor(40), options=[("grpc.so_reuseport", 0)])
    served.address = f"127.0.0.1:{served.server.add_insecure_port('127.0.0.1:0')}"
    return str(served.start(text_embedding=gateway).address)


def test_no_thread_stands_behind_a_text(subject: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    client = subject.client(emulator, quota=yagrpc.Quota(embeddings_per_second=20))
    subject(client.text_embedding("connects"))
    started = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    subject(client.text_embedding([f"number {number}" for number in range(45)]))
    assert not [name for name in started if name.startswith("yagrpc")]
    assert len(started) < 20, started  # gRPC's own: one wherever no call runs any longer


@pytest.mark.usefixtures("counted_when_answered")
def test_calls_share_the_quota_in_turn(subject: Any) -> None:
    with Emulator(quota=EmulatorQuota(embeddings_per_second=20)) as emulator:
        client = subject.client(emulator, quota=yagrpc.Quota(embeddings_per_second=20))
        calls = [functools.partial(client.text_embedding, [f"{name} {n}" for n in range(12)]) for name in "abc"]
        calls += [functools.partial(client.text_embedding, "alone")]
        assert [len(embeddings) for embeddings in subject.together(calls)] == [12, 12, 12, 1]
        assert emulator.refusals == {}


def test_nothing_gives_nothing_and_sends_nothing(subject: Any, client: Any, emulator: Emulator) -> None:
    embeddings = subject(client.text_embedding([]))
    assert (len(embeddings), embeddings.vectors, embeddings.model_version) == (0, [], "")
    assert embeddings.usage.total_tokens == 0
    for parameters in ({"dim": 5}, {"timeout": -1}, {"model": "cls://f/a"}):
        with pytest.raises(yagrpc.RequestError):
            subject(client.text_embedding([], **parameters))
    assert not emulator.calls


ARRAY = numpy.array(["a", "b"])


@pytest.mark.parametrize(
    "make",
    [
        lambda: ["a", "b"],
        lambda: ("a", "b"),
        lambda: iter(["a", "b"]),
        lambda: dict.fromkeys(["a", "b"]).keys(),
        lambda: ARRAY,
        lambda: ARRAY.astype(object),
        lambda: pandas.Series(["a", "b"]),
        lambda: pandas.Series(["a", "b"], dtype="string"),
        lambda: pandas.Index(["a", "b"]),
    ],
)
def test_texts_come_in_any_iterable(subject: Any, client: Any, emulator: Emulator, make: Callable[[], Any]) -> None:
    assert len(subject(client.text_embedding(make()))) == 2
    assert sorted(texts_of(emulator)) == ["a", "b"]


async def _later() -> AsyncIterator[str]:
    yield "a"


@pytest.mark.parametrize(
    ("texts", "field", "said"),
    [
        ("", "texts", "texts is '': it takes a text that is not empty"),
        (5, "texts", "texts is 5: it takes a text, or an iterable of texts in one dimension"),
        (None, "texts", "texts is None: it takes"),
        (b"abc", "texts", "texts is b'abc': it takes"),
        ({"a": "b"}, "texts", "texts is {'a': 'b'}: it takes"),
        (_later, "texts", "texts is <function _later"),
        (ARRAY.reshape(1, 2), "texts", "texts is array([['a', 'b']]"),
        (numpy.array("a"), "texts", "texts is array('a'"),
        (pandas.DataFrame({"a": ["b"]}), "texts", "texts is  "),
        (["a", ""], "texts[1]", "texts[1] is '': it takes a text that is not empty"),
        (["a", 5], "texts[1]", "texts[1] is 5: it takes a text that is not empty"),
        (["a", ["b"]], "texts[1]", "texts[1] is ['b']: it takes"),
        (["a", "\ud800"], "texts[1]", "texts[1] is '\\ud800': it holds half of a surrogate pair"),
        (pandas.Series(["a", "b", float("nan")], dtype=object), "texts[2]", "texts[2] is nan: it takes"),
        (pandas.Series(["a", None], dtype="string"), "texts[1]", "texts[1] is <NA>: it takes"),
        (numpy.array([1.5]), "texts[0]", "texts[0] is np.float64(1.5): it takes"),
    ],
)
def test_what_is_no_text_is_named_and_nothing_is_sent(
    subject: Any, client: Any, emulator: Emulator, texts: Any, field: str, said: str
) -> None:
    with pytest.raises(yagrpc.RequestError) as caught:
        subject(client.text_embedding(texts))
    assert caught.value.field == field
    assert str(caught.value).startswith(said)
    assert not emulator.calls


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"dim": 512}, f"dim is 512: {DOC} takes 256 or 768"),
        ({"dim": 0}, f"dim is 0: {DOC} takes 256 or 768"),
        ({"dim": True}, f"dim is True: {DOC} takes 256 or 768"),
        ({"dim": "256"}, f"dim is '256': {DOC} takes 256 or 768"),
        ({"dim": 256.0}, f"dim is 256.0: {DOC} takes 256 or 768"),
        (
            {"dim": 256, "model": "text-search-query"},
            "dim is 256: text-search-query always has 256 numbers: leave it out, or take text-embeddings-v2-doc or",
        ),
        ({"dim": 768, "model": "emb://f/text-search-doc/latest"}, "dim is 768: text-search-doc always has 256"),
        ({"dim": -1, "model": "gpt://f/text-embeddings/latest@x"}, "dim is -1: it takes a whole number above 0"),
        ({"dim": 2**63, "model": "new"}, "dim is 9223372036854775808: it takes a whole number above 0"),
        (
            {"model": "gpt://f/yandexgpt/latest"},
            "model is 'gpt://f/yandexgpt/latest': it takes NAME, NAME/BRANCH, 'emb",
        ),
        ({"model": "cls://f/a/latest"}, "model is 'cls://f/a/latest': it takes NAME"),
        ({"model": "a/b/c"}, "model is 'a/b/c': it takes NAME"),
        ({"model": 5}, "model is 5: it takes"),
        ({"timeout": "soon"}, "timeout is 'soon': it takes seconds"),
        ({"data_logging": "no"}, "data_logging is 'no': it takes True or False"),
        ({"request_id": "two\nlines"}, "request_id is 'two\\nlines'"),
    ],
)
@pytest.mark.parametrize(
    "make", [lambda: "a", lambda: ["a", "b"], lambda: iter(["a"])], ids=["one", "list", "iterator"]
)
def test_a_wrong_argument_is_named_and_nothing_is_sent(
    subject: Any, client: Any, emulator: Emulator, make: Callable[[], Any], parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(yagrpc.RequestError) as caught:
        subject(client.text_embedding(make(), **parameters))
    assert str(caught.value).startswith(said)
    assert not emulator.calls


def test_an_unknown_argument_names_the_method_and_the_nearest_name(subject: Any, client: Any) -> None:
    with pytest.raises(TypeError) as caught:
        subject(client.text_embedding("a", dims=256))
    assert str(caught.value) == "text_embedding() got an unexpected keyword argument 'dims': did you mean 'dim'?"


def test_a_short_name_needs_a_folder(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, folder_id=None)
    with pytest.raises(yagrpc.ConfigError, match=f"'{DOC}' needs a folder"):
        subject(client.text_embedding(["a"]))
    assert not emulator.calls
    assert subject(client.text_embedding("a", model="emb://elsewhere/text-search-doc/latest"))


# What ends it


def test_one_that_is_refused_is_named_and_ends_the_others(subject: Any, served: Any, gateway: Gateway) -> None:
    client = subject.client(endpoint=served.start(text_embedding=gateway).address, plaintext=True)
    thread = failing_when(gateway, lambda: gateway.running == 5)
    with pytest.raises(yagrpc.InvalidArgumentError) as caught:
        subject(client.text_embedding(["a", "b", "c", "fail", "e"]))
    thread.join()
    assert str(caught.value).startswith("INVALID_ARGUMENT: texts[3]: as asked (")
    assert caught.value.method == paths.TEXT_EMBEDDING
    assert caught.value.client_request_id
    until(lambda: gateway.running == 0)
    assert sorted(gateway.cancelled) == ["a", "b", "c", "e"]
    gateway.go.set()
    assert len(subject(client.text_embedding(["again"]))) == 1


def test_a_refusal_of_the_only_text_names_no_index(subject: Any, served: Any, gateway: Gateway) -> None:
    client = subject.client(endpoint=served.start(text_embedding=gateway).address, plaintext=True)
    gateway.failing.set()
    with pytest.raises(yagrpc.InvalidArgumentError, match="^INVALID_ARGUMENT: as asked"):
        subject(client.text_embedding("fail"))


def test_a_refusal_ends_the_wait_of_the_next_for_its_slot(subject: Any, served: Any, gateway: Gateway) -> None:
    quota = yagrpc.Quota(embeddings_per_second=0.01)  # the second waits for 100 s
    client = subject.client(endpoint=served.start(text_embedding=gateway).address, plaintext=True, quota=quota)
    thread = failing_when(gateway, lambda: gateway.running == 1 and waiting(client) > 0)
    with pytest.raises(yagrpc.InvalidArgumentError, match=r"texts\[0\]: as asked"):
        subject(client.text_embedding(["fail", "waits", "waits"]))
    thread.join()
    assert waiting(client) == 0
    assert gateway.arrived == ["fail"]


@pytest.mark.parametrize(("error", "match"), [(KeyError("mine"), "mine"), (None, r"texts\[2\] is '': it takes a text")])
def test_texts_that_end_in_an_error_end_it(
    subject: Any, served: Any, gateway: Gateway, error: Exception | None, match: str
) -> None:
    client = subject.client(endpoint=served.start(text_embedding=gateway).address, plaintext=True)

    def texts() -> Iterator[str]:
        yield "a"
        yield "b"
        if subject.kind == "sync":
            until(lambda: gateway.running == 2)
        if error is not None:
            raise error
        yield ""

    with pytest.raises((KeyError, yagrpc.RequestError), match=match):
        subject(client.text_embedding(texts()))
    # In asyncio they may not have arrived yet.
    until(lambda: gateway.running == 0 and sorted(gateway.cancelled) == sorted(gateway.arrived))
    assert waiting(client) == 0


def test_closing_the_client_ends_it(subject: Any, served: Any, gateway: Gateway) -> None:
    client = subject.client(endpoint=served.start(text_embedding=gateway).address, plaintext=True)

    def close() -> Any:
        if subject.kind == "sync":
            until(lambda: gateway.running == 4)
            return client.close()

        async def closed() -> None:
            await asyncio.to_thread(until, lambda: gateway.running == 4)
            await client.close()

        return closed()

    outcome, _ = subject.together([lambda: client.text_embedding(list("abcd")), close])
    assert type(outcome) is yagrpc.ClientClosedError


async def test_a_cancelled_task_cancels_what_runs_and_leaves_the_queue(served: Any, gateway: Gateway) -> None:
    settings: dict[str, Any] = {"endpoint": served.start(text_embedding=gateway).address, "plaintext": True}
    quota = yagrpc.Quota(embeddings_per_second=3)
    async with yagrpc.AsyncClient(**settings, folder_id="f", credentials=yagrpc.NoCredentials(), quota=quota) as client:
        task = asyncio.create_task(client.text_embedding([f"number {number}" for number in range(30)]))
        await asyncio.to_thread(until, lambda: gateway.running == 3 and waiting(client) > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert waiting(client) == 0
        await asyncio.to_thread(until, lambda: gateway.running == 0)
        assert sorted(gateway.cancelled) == sorted(gateway.arrived)
        assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "yagrpc-each"] == []


@pytest.mark.parametrize("state", ["answers", "slot"])
def test_ctrl_c_cancels_what_runs_and_leaves_the_queue(served: Any, gateway: Gateway, state: str) -> None:
    settings: dict[str, Any] = {"endpoint": served.start(text_embedding=gateway).address, "plaintext": True}
    quota = yagrpc.Quota(embeddings_per_second=0.03 if state == "slot" else 10)
    with yagrpc.Client(**settings, folder_id="f", credentials=yagrpc.NoCredentials(), quota=quota) as client:
        main = threading.get_ident()

        def interrupt() -> None:
            until(lambda: bool(waiting(client)) if state == "slot" else gateway.running == 3)
            signal.pthread_kill(main, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            client.text_embedding(["a", "b", "c"])
        thread.join()
        assert waiting(client) == 0
        until(lambda: gateway.running == 0)
        assert sorted(gateway.cancelled) == sorted(gateway.arrived)


def test_an_answer_without_a_vector_is_an_error_with_the_ids_of_its_call(subject: Any, served: Any) -> None:
    def answer(request: Any, context: grpc.ServicerContext) -> Response:
        return Response(embedding=[] if request.text == "b" else [1.0], num_tokens=1)

    client = subject.client(endpoint=served.start(text_embedding=answer).address, plaintext=True)
    with pytest.raises(yagrpc.ResultError) as caught:
        subject(client.text_embedding(["a", "b", "c"], request_id="r-2"))
    assert str(caught.value).startswith("texts[1]: the service answered without a vector")
    assert (caught.value.client_request_id, caught.value.method) == ("r-2", paths.TEXT_EMBEDDING)


def test_a_failure_that_passes_is_tried_again(subject: Any, served: Any) -> None:
    failed = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Response:
        if request.text == "b" and not failed.is_set():
            failed.set()
            context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
        return Response(embedding=[float(ord(request.text))])

    client = subject.client(endpoint=served.start(text_embedding=answer).address, plaintext=True)
    assert [vector[0] for vector in subject(client.text_embedding(list("abc")))] == [97.0, 98.0, 99.0]
    assert len(served.calls) == 4


# Timeouts


def test_a_wait_for_the_quota_leaves_a_default_timeout_alone(
    subject: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last wait for two seconds and more; a busy machine answers each within the timeout all the same."""
    monkeypatch.setitem(POLICIES, paths.TEXT_EMBEDDING, POLICIES[paths.TEXT_EMBEDDING]._replace(timeout=1.9))
    client = subject.client(emulator, quota=yagrpc.Quota(embeddings_per_second=8))
    assert len(subject(client.text_embedding([f"number {number}" for number in range(20)]))) == 20
    calls = [functools.partial(client.text_embedding, "alone") for _ in range(20)]
    assert [len(embeddings) for embeddings in subject.together(calls)] == [1] * 20


def test_a_default_timeout_counts_from_the_slot(subject: Any, served: Any, gateway: Gateway, short: float) -> None:
    client = subject.client(endpoint=served.start(text_embedding=gateway).address, plaintext=True)
    with pytest.raises(yagrpc.DeadlineExceededError, match=r"texts\[\d\]: "):
        subject(client.text_embedding(["a", "b"]))


def test_a_default_timeout_ends_what_the_service_refuses_for_ever(subject: Any, short: float) -> None:
    with Emulator(quota=EmulatorQuota(embeddings_per_second=0)) as emulator:
        client = subject.client(emulator)
        subject(client.tokenize("connects"))
        with pytest.raises(yagrpc.QuotaWaitError, match=rf"^texts\[\d+\]: no slot under .* in {short} s") as caught:
            subject(client.text_embedding([f"number {number}" for number in range(20)]))
        assert isinstance(caught.value.__cause__, yagrpc.ResourceExhaustedError)


def test_a_timeout_that_is_given_covers_all_texts(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=yagrpc.Quota(embeddings_per_second=10))
    with pytest.raises(yagrpc.QuotaWaitError, match=r"texts\[\d+\]: no slot under quota.*_second in 0.5 s") as caught:
        subject(client.text_embedding([f"number {number}" for number in range(40)], timeout=0.5))
    assert caught.value.timeout == 0.5
    assert emulator.calls[paths.TEXT_EMBEDDING] <= 10
    assert len(subject(client.text_embedding(["a"] * 3, timeout=None))) == 3


def test_a_timeout_that_is_given_is_not_counted_anew_for_each_text(subject: Any, served: Any, gateway: Gateway) -> None:
    slow = threading.Event()

    def answer(request: Any, context: grpc.ServicerContext) -> Response:
        slow.wait(0.25)
        return Response(embedding=[1.0])

    client = subject.client(endpoint=served.start(text_embedding=answer).address, plaintext=True, quota=None)
    with pytest.raises(yagrpc.DeadlineExceededError):
        subject(client.text_embedding(["a"] * (3 * base.AT_ONCE), timeout=0.6))
    slow.set()


# What those who watch see


def test_events_see_the_context_of_the_caller(subject: Any, served: Any) -> None:
    """Also where gRPC's thread, which takes the answers, was started by another caller's call."""
    caller: contextvars.ContextVar[str] = contextvars.ContextVar("caller", default="")
    held, go = threading.Event(), threading.Event()
    seen: list[tuple[str, str]] = []

    class Watching(Events):
        def attempt(self, call: Any, outcome: Any, verdict: Any) -> None:
            seen.append((caller.get(), call.request.text))

    def answer(request: Any, context: grpc.ServicerContext) -> Response:
        if request.text == "held":
            held.set()
            go.wait(30)
        return Response(embedding=[1.0])

    address = served.start(text_embedding=answer).address
    client = subject.client(endpoint=address, plaintext=True, events=Watching())

    async def asynchronous(name: str, texts: list[str]) -> None:
        caller.set(name)
        if name == "second":
            await asyncio.to_thread(held.wait)
        await client.text_embedding(texts)
        if name == "second":
            go.set()

    def call(name: str, texts: list[str]) -> Any:
        if subject.kind == "aio":
            return asynchronous(name, texts)
        caller.set(name)
        if name == "second":
            held.wait()
        client.text_embedding(texts)
        return go.set() if name == "second" else None

    subject.together([functools.partial(call, "first", ["held"] * 2), functools.partial(call, "second", list("abc"))])
    assert sorted(seen) == [("first", "held")] * 2 + [("second", text) for text in "abc"]


def test_requests_leave_in_order(subject: Any, emulator: Emulator) -> None:
    client = subject.client(emulator, quota=yagrpc.Quota(embeddings_per_second=30))
    texts = [f"{number:03}" for number in range(45)]
    embeddings = subject(client.text_embedding(texts))
    arrived = texts_of(emulator)
    assert sorted(arrived[:30]) == texts[:30], "on the way one may overtake another, but not one of an earlier second"
    assert sorted(arrived) == texts
    assert embeddings[44] == subject(client.text_embedding("044"))[0]

"""The exceptions: their tree, their texts, and that they survive being copied and sent elsewhere."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import yagrpc
from yagrpc import _pb, errors
from yagrpc.errors import (
    CALL_ERRORS,
    AmbiguousSubmitError,
    CallError,
    ClientClosedError,
    Code,
    ConfigError,
    Context,
    DeadlineExceededError,
    JournalInUseError,
    OperationError,
    OperationFailedError,
    OperationResultError,
    OperationTimeoutError,
    QuotaWaitError,
    RequestError,
    ResultError,
    SubmitTimeoutError,
    YagrpcError,
)

CALL: dict[str, Any] = {
    "message": "it failed",
    "details": ({"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req"},),
    "method": "/package.Service/Rpc",
    "endpoint": "host:443",
    "request_id": "req",
    "server_trace_id": "trace",
    "retry_after": 1.5,
    "client_request_id": "client",
    "attempts": 3,
    "operation_id": "d7q",
    "hint": "look at the quota",
}


def answered(text: str) -> yagrpc.Completion:
    """A completion, with the ids of its call."""
    proto = _pb.text_generation_service_pb2.CompletionResponse()
    proto.alternatives.add(status=2).message.text = text
    proto.usage.total_tokens = 27
    completion = yagrpc.Completion(proto)
    completion.ids = yagrpc.RequestIds("client", "req", "trace")
    return completion


def classes(root: type[YagrpcError] = YagrpcError) -> Iterator[type[YagrpcError]]:
    """A class and all below it, as long as they are the package's own."""
    yield root
    for child in root.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from classes(child)


ALL = list(dict.fromkeys(classes()))


def example(kind: type[YagrpcError]) -> Any:
    """An error of a class, with every attribute filled."""
    values: dict[str, Any] = {
        **CALL,
        "code": Code.ABORTED,
        "field": "temperature",
        "value": 7,
        "allowed": "it takes a number from 0 to 1",
        "size": 70_000_000,
        "limit": 67_108_864,
        "option": "grpc.max_receive_message_length",
        "quota": "submit_per_second",
        "seconds": 7.5,
        "timeout": 2.5,
        "operation_ids": ("d7q", "d7r"),
        "refusal": "ai.submitsPerHour.rate rate quota limit exceed: allowed 5000 requests",
        "completion": answered("To be"),
    }
    parameters = dict(inspect.signature(kind).parameters)
    assert parameters.popitem()[0] == "context"
    own = {name: values[name] for name in parameters}
    return kind(**{name: values[name] for name in Context.__optional_keys__} | own)


every_class = pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)


# The tree


def drawn() -> dict[str, tuple[str, set[str]]]:
    """The tree of the docstring: of each class the one it hangs from, and what it is besides."""
    found: dict[str, tuple[str, set[str]]] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    (?P<stem>[ |`-]*)(?P<name>[A-Z]\w+)(?P<rest>.*)", line)
        if match is None:
            continue
        depth = len(match["stem"])
        path = [(above, name) for above, name in path if above < depth]
        bases = re.match(r" \(also (\w+)\)", match["rest"])
        found[match["name"]] = (path[-1][1] if path else "", {bases[1]} if bases else set())
        path.append((depth, match["name"]))
    return found


def test_the_tree_is_as_drawn() -> None:
    tree = drawn()
    assert tree.pop("YagrpcError") == ("", set())
    statuses = {kind.__name__ for kind in CALL_ERRORS.values()}
    assert {kind.__name__ for kind in ALL} == {"YagrpcError", *tree} | statuses
    for name, (parent, also) in tree.items():
        kind = getattr(errors, name)
        assert {base.__name__ for base in kind.__bases__} == {parent} | also, name


def test_a_status_has_a_class_that_hangs_from_the_call() -> None:
    for code, kind in CALL_ERRORS.items():
        assert CallError in kind.__bases__
        assert kind.code is code
        assert (kind.__doc__ or "").startswith(f"{code.name}: ")


def test_all_are_public() -> None:
    assert sorted(errors.__all__) == sorted({kind.__name__ for kind in ALL} | {"Code"})
    assert {kind.__name__ for kind in ALL} <= set(yagrpc.__all__)
    for kind in ALL:
        assert getattr(yagrpc, kind.__name__) is kind
        assert inspect.getdoc(kind)


def test_what_is_a_builtin_too() -> None:
    timeouts = {DeadlineExceededError, OperationTimeoutError, QuotaWaitError, SubmitTimeoutError}
    assert {kind for kind in ALL if issubclass(kind, TimeoutError)} == timeouts
    assert {kind for kind in ALL if issubclass(kind, ValueError)} == {ConfigError, JournalInUseError, RequestError}
    assert issubclass(OperationResultError, ResultError)


# Copies


def same(one: Any, other: Any) -> None:
    """Two errors say the same."""
    assert type(one) is type(other)
    assert one is not other
    assert (str(one), one.args, vars(one)) == (str(other), other.args, vars(other))
    for name in vars(one):
        assert type(getattr(one, name)) is type(getattr(other, name))


@every_class
@pytest.mark.parametrize(
    "again",
    [
        *(lambda error, protocol=protocol: pickle.loads(pickle.dumps(error, protocol)) for protocol in range(6)),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_an_error_is_copied_whole(kind: type[YagrpcError], again: Callable[[Any], Any]) -> None:
    error = example(kind)
    same(error, again(error))
    same(error, again(again(error)))


@every_class
def test_what_was_added_to_an_error_is_copied(kind: type[YagrpcError]) -> None:
    error = example(kind)
    error.__dict__["row"] = 7
    same(error, pickle.loads(pickle.dumps(error)))


def test_a_class_of_a_users_own_is_copied() -> None:
    same(OwnError("d7q", 5), pickle.loads(pickle.dumps(OwnError("d7q", 5))))


class OwnError(OperationError):
    """What a user may derive."""

    def __init__(self, operation_id: str, row: int) -> None:
        super().__init__(operation_id, f"row {row}")
        self.row = row


def test_an_unfinished_completion_is_copied_with_its_usage_and_ids() -> None:
    error = example(errors.CompletionTruncatedError)
    copied = pickle.loads(pickle.dumps(error))
    assert copied.completion.text == "To be"
    assert copied.usage == yagrpc.Usage(0, 0, 27, 0)
    assert copied.completion.ids == error.completion.ids


def test_an_error_crosses_processes() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        caught = pool.submit(errors.OperationFailedError, "d7q", "no", code=Code.INTERNAL).result()
    same(OperationFailedError("d7q", "no", code=Code.INTERNAL), caught)


# The context


DEFAULTS: dict[str, Any] = {
    "code": None,
    "method": "",
    "endpoint": "",
    "client_request_id": "",
    "request_id": "",
    "server_trace_id": "",
    "attempts": 0,
    "operation_id": "",
    "hint": "",
}

GIVEN: dict[str, Any] = {
    "code": Code.DATA_LOSS,
    "method": "/p.S/R",
    "endpoint": "host:1",
    "client_request_id": "our id",
    "request_id": "their id",
    "server_trace_id": "their trace",
    "attempts": 41,
    "operation_id": "d9z",
    "hint": "look again",
}


def plain(kind: type[YagrpcError], **context: Any) -> YagrpcError:
    """An error of a class, with what its constructor needs, and a context."""
    needed: dict[str, Any] = {
        "message": "it failed",
        "operation_id": "",
        "field": "temperature",
        "value": 7,
        "allowed": "less",
        "size": 2,
        "limit": 1,
        "option": "grpc.max_receive_message_length",
        "quota": "get_per_second",
        "seconds": 1.0,
        "timeout": 1.0,
        "completion": answered("To be"),
    }
    parameters = inspect.signature(kind).parameters.values()
    wanted = {one.name for one in parameters if one.name == "message" or one.default is one.empty}
    return kind(**{name: value for name, value in needed.items() if name in wanted} | context)


def test_the_context_is_that_of_the_class_attributes() -> None:
    assert Context.__optional_keys__ == set(DEFAULTS) == set(GIVEN)
    assert {name: getattr(YagrpcError, name) for name in DEFAULTS} == DEFAULTS


@every_class
def test_an_error_has_every_attribute_and_stores_only_what_it_was_given(kind: type[YagrpcError]) -> None:
    error = plain(kind)
    assert error.message
    assert not DEFAULTS.keys() & vars(error).keys()
    fixed = {"code": kind.code, "attempts": 1 if issubclass(kind, CallError | AmbiguousSubmitError) else 0}
    assert {name: getattr(error, name) for name in DEFAULTS} == {**DEFAULTS, **fixed}
    empty = plain(kind, **{name: value for name, value in DEFAULTS.items() if name != "attempts"})
    assert vars(empty) == vars(error)
    assert not str(error).endswith(")")


@every_class
def test_the_context_that_is_given_is_kept_shown_and_copied(kind: type[YagrpcError]) -> None:
    error = plain(kind, **GIVEN)
    assert error.context == GIVEN
    shown = str(error)
    assert len(shown.splitlines()) == 1
    for name, value in GIVEN.items():
        shown_as = "" if name == "code" and kind.code is not None and "failed: " not in shown else value
        assert getattr(shown_as, "name", str(shown_as)) in shown
    for value in GIVEN.values():
        assert shown.count(getattr(value, "name", str(value))) <= 1
    assert shown in repr(error)
    for again in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        same(error, again)
        assert again.context == GIVEN


@every_class
def test_what_an_error_does_not_know_is_filled_in(kind: type[YagrpcError]) -> None:
    error = plain(kind)
    assert error.with_context(**GIVEN) is error
    assert error.context == ({**GIVEN, "code": kind.code} if kind.code is not None else GIVEN)
    before = copy.copy(error)
    same(error.with_context(**dict.fromkeys(GIVEN, "other")), before)  # type: ignore[arg-type]


def test_what_an_error_knows_stays() -> None:
    error = ConfigError("no", method="/p.S/R", attempts=0).with_context(method="other", attempts=3, request_id="req")
    assert error.context == {"method": "/p.S/R", "attempts": 0, "request_id": "req"}
    assert errors.UnavailableError("no", attempts=1).with_context(attempts=3).attempts == 1
    assert errors.UnavailableError("no").with_context(attempts=0).attempts == 0


def test_an_attribute_that_was_emptied_is_not_known() -> None:
    error = OperationError("d7q", "odd")
    error.operation_id = ""
    assert error.context == {}
    assert error.with_context(operation_id="d8q").operation_id == "d8q"


def test_the_context_of_one_error_is_that_of_another() -> None:
    cause = errors.UnavailableError("gone", **{**GIVEN, "code": Code.UNAVAILABLE})
    assert AmbiguousSubmitError(cause.message, **cause.context).context == cause.context
    assert OperationError("d7q", "odd").with_context(**cause.context).operation_id == "d7q"


@every_class
def test_a_keyword_that_no_error_has_is_refused(kind: type[YagrpcError]) -> None:
    with pytest.raises(TypeError, match=rf"^{kind.__name__}\(\) got an unexpected keyword argument 'requestid'$"):
        plain(kind, requestid="x")
    with pytest.raises(TypeError, match="requestid"):
        plain(kind).with_context(requestid="x")  # type: ignore[call-arg]


def test_a_number_is_the_code_of_an_error_where_there_is_one() -> None:
    assert YagrpcError("no", code=5).code is Code.NOT_FOUND
    assert str(YagrpcError("no", code=5)) == "no (code NOT_FOUND)"
    assert (YagrpcError("no", code=99).code, str(YagrpcError("no", code=99))) == (99, "no (code status 99)")


def test_attempts_are_shown_where_they_say_something() -> None:
    assert str(ConfigError("no", attempts=1)) == str(ConfigError("no", attempts=0)) == "no"
    assert str(ConfigError("no", attempts=2)) == "no (attempts 2)"
    assert str(errors.UnavailableError("no", attempts=0)) == "UNAVAILABLE: no (attempts 0)"


def test_a_quota_wait_says_whether_anything_was_sent() -> None:
    never = QuotaWaitError("get_per_second", None, timeout=1.0)
    assert (
        str(never)
        == "no slot under quota.get_per_second in 1 s, there is one when a running call ends; nothing was sent"
    )
    refused = QuotaWaitError("get_per_second", 2.0, timeout=1.0, attempts=2)
    assert str(refused) == (
        "no slot under quota.get_per_second in 1 s, there is one in 2 s; every attempt before failed (attempts 2)"
    )


def test_a_quota_wait_says_what_the_service_refused() -> None:
    said = "ai.submitsPerHour.rate rate quota limit exceed: allowed 5000 requests"
    sent = QuotaWaitError("submit_per_hour", 4.0, timeout=4.0, refusal=said, attempts=3)
    assert str(sent) == (
        "no slot under quota.submit_per_hour in 4 s, the next attempt is in 4 s; every attempt before failed: it was "
        f"sent, and refused: {said} (attempts 3)"
    )
    held = QuotaWaitError("submit_per_hour", 4.0, timeout=4.0, refusal=said)
    assert str(held).endswith(f"; nothing was sent: the service refused calls before it: {said}")


# Texts


@every_class
def test_error_text_is_one_line_and_shows_the_attributes(kind: type[YagrpcError]) -> None:
    error = example(kind)
    assert len(str(error).splitlines()) == 1
    for name in ("operation_id", "client_request_id", "endpoint", "method", "hint"):
        assert getattr(error, name) in str(error)
    assert type(error).__name__ in repr(error)


@every_class
def test_attributes_are_plain_data(kind: type[YagrpcError]) -> None:
    for value in vars(example(kind)).values():
        assert type(value) in {str, int, float, Code, tuple, yagrpc.Completion}


def test_the_texts() -> None:
    assert str(CallError("it failed")) == "UNKNOWN: it failed"
    assert str(CallError("it failed", code=Code.ABORTED, attempts=0)) == "ABORTED: it failed (attempts 0)"
    assert str(example(errors.NotFoundError)) == (
        "ABORTED: it failed; look at the quota (operation d7q, method /package.Service/Rpc, endpoint host:443, "
        "request id req, server trace id trace, client request id client, attempts 3)"
    )
    assert str(errors.NotFoundError("no")) == "NOT_FOUND: no"
    assert str(example(AmbiguousSubmitError)) == (
        "the submit may or may not have been accepted (ABORTED: it failed); sending it again may be billed twice; "
        "look at the quota (operation d7q, method /package.Service/Rpc, endpoint host:443, request id req, "
        "server trace id trace, client request id client, attempts 3)"
    )
    assert str(ClientClosedError()) == "the client is closed"
    assert (
        str(ClientClosedError("d7q"))
        == "the client is closed; operation d7q may still run, and can be waited for again"
    )
    assert str(OperationError("d7q", "odd")) == "operation d7q: odd"
    assert str(OperationFailedError("d7q", "odd", code=99)) == "operation d7q failed: status 99: odd"
    assert str(RequestError("a.b", "c", "d")) == "a.b is 'c': d"


def test_an_error_that_is_a_timeout_has_no_number() -> None:
    assert str(DeadlineExceededError("late")) == "DEADLINE_EXCEEDED: late"
    assert str(OperationTimeoutError("d7q", "late")) == "operation d7q: late"


# The value in an error


class Odd:
    """A value whose repr is the test's."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __repr__(self) -> str:
        if self.text is None:
            raise RuntimeError("no repr")
        return self.text


@given(text=st.text())
def test_any_value_is_shown_in_one_short_line(text: str) -> None:
    for value in (text, Odd(text), [text], text.encode("utf-8", "replace")):
        error = RequestError("field", value, "it takes something else")
        assert len(error.value) <= 80
        assert len(error.value.splitlines()) <= 1


def test_a_long_value_is_cut() -> None:
    assert RequestError("field", "x" * 78, "").value == repr("x" * 78)
    assert RequestError("field", "x" * 79, "").value == f"'{'x' * 76}..."


@pytest.mark.parametrize("value", [Odd(None), 10**5000, [10**5000]], ids=type)
def test_value_that_cannot_be_shown_is_named_by_its_type(value: object) -> None:
    assert RequestError("field", value, "").value == f"a {type(value).__name__} that can't be shown"


# Codes


def test_a_number_becomes_a_code_where_there_is_one() -> None:
    assert Code.of(5) is Code.NOT_FOUND
    assert [Code.of(number) for number in (17, -1)] == [17, -1]
    assert type(Code.of(17)) is int

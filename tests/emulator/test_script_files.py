"""Script files: what they can contain, and that a mistake is reported with its line and key."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator import (
    Crash,
    EarlyError,
    EmulatorScript,
    Failure,
    Fault,
    Garbage,
    Hang,
    LostReply,
    NoResult,
    Oversize,
    ScriptError,
    Take,
    load_script,
    parse_script,
)
from yagrpc.emulator.faults import schema

if TYPE_CHECKING:
    from tests.emulator.conftest import Ask, Emulate, Refused

SCRIPT = """
replies:
  "(?i)ping": pong
  boom: {status: INTERNAL, message: broken}
  "42": 42
faults:
  - method: OperationService/Get
    calls: [1, 2]
    fail:
      status: UNAVAILABLE
      message: try again
      details:
        - "@type": type.googleapis.com/google.rpc.RetryInfo
          retryDelay: 1.5s
  - {calls: 3, hang: }
  - {calls: 2-4, hang: {}}
  - {method: TextGenerationAsyncService, probability: 0.1, seed: 7, lose_reply: {connection: true}}
  - {operation: 2, times: 1, no_result: null}
  - {operation: d7q, early_error: {status: RESOURCE_EXHAUSTED, message: full}}
  - crash: {keep: false, down: 3}
  - take: {seconds: .inf}
  - oversize:
  - garbage: {data: text}
  - garbage: {data: !!binary "/w=="}
"""


def test_a_script_says_everything() -> None:
    retry = _pb.error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    assert parse_script(SCRIPT) == EmulatorScript(
        faults=(
            Fault(
                Failure(grpc.StatusCode.UNAVAILABLE, "try again", (retry,)),
                method="OperationService/Get",
                calls=[1, 2],
            ),
            Fault(Hang(), calls=3),
            Fault(Hang(), calls=range(2, 5)),
            Fault(LostReply(connection=True), method="TextGenerationAsyncService", probability=0.1, seed=7),
            Fault(NoResult(), operation=2, times=1),
            Fault(EarlyError(8, "full"), operation="d7q"),
            Fault(Crash(keep=False, down=3)),
            Fault(Take(float("inf"))),
            Fault(Oversize()),
            Fault(Garbage(b"text")),
            Fault(Garbage(b"\xff")),
        ),
        replies={"(?i)ping": "pong", "boom": Failure(grpc.StatusCode.INTERNAL, "broken"), "42": "42"},
    )


def test_a_script_takes_every_field_of_the_proto() -> None:
    values: dict[str, Any] = {"seconds": 1.5, "connection": True, "after": 2, "keep": False, "down": 3.0, "size": 9}
    values |= {"type": "yandex.cloud.operation.Operation", "data": b"x"}
    tried = set()
    for action in schema.ACTION_FIELDS:
        message_type = _pb.control_pb2.Fault.DESCRIPTOR.fields_by_name[action].message_type
        assert message_type is not None
        for field in message_type.fields:
            if action in ("fail", "early_error"):
                continue  # a status is written with its code's name, which other tests show
            text = yaml.safe_dump({"faults": [{action: {field.name: values[field.name]}}]})
            (fault,) = parse_script(text).faults
            assert getattr(getattr(fault.message, action), field.name) == values[field.name]
            tried.add(field.name)
    assert tried == set(values)


def test_a_script_that_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text("# nothing yet\n")
    assert load_script(path) == EmulatorScript()
    assert parse_script("faults: []") == EmulatorScript()


def test_a_script_is_carried_out(emulate: Emulate, ask: Ask, refused: Refused) -> None:
    script = parse_script(SCRIPT)
    service = emulate(faults=script.faults[:1], replies=script.replies)
    refusal = refused(service.get, "d7q")
    assert refusal.status is not None
    info = _pb.error_details_pb2.RetryInfo()
    assert refusal.status.details[0].Unpack(info)
    assert info.retry_delay.ToMilliseconds() == 1500
    assert "pong" in str(service.complete(ask("Ping")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("replys: {}", "1: replys: unknown key; known are faults, replies"),
        ("faults:\n  - hang:\n    metod: Get", "3: faults[0].metod: unknown key; known are method, calls"),
        ("faults:\n  - hang:\n    method: Gett", "3: faults[0].method: unknown method 'Gett'; served are"),
        ("faults:\n  - fail: {status: UNAVAILBLE}", "2: faults[0].fail.status: unknown status 'UNAVAILBLE'; known"),
        ("faults:\n  - fail: {status: OK}", "2: faults[0].fail.status: unknown status 'OK'"),
        ("faults:\n  - fail: {message: x}", "2: faults[0].fail: a status is required"),
        ("faults:\n  - fail: {status: ABORTED, code: 3}", "2: faults[0].fail.code: unknown key; known are status"),
        ("faults:\n  - hang:\n  - calls: 1", "3: faults[1]: one action is required, and there are 0: fail, delay"),
        ("faults:\n  - {hang: , no_result: }", "2: faults[0]: one action is required, and there are 2"),
        ("faults:\n  - {hang: {seconds: 1}}", "2: faults[0].hang.seconds: unknown key; known are "),
        ("faults:\n  - {hang: , calls: 0}", "2: faults[0].calls: calls are numbers from 1; got 0"),
        ("faults:\n  - {hang: , calls: often}", "2: faults[0].calls: a number, a list of numbers or such as '2-5'"),
        ("faults:\n  - {hang: , calls: [x]}", "2: faults[0].calls: "),
        ("faults:\n  - {hang: , calls: 5-2}", "2: faults[0].calls: calls are numbers from 1"),
        ("faults:\n  - {hang: , probability: 2}", "2: faults[0].probability: a probability is from 0 to 1; got 2"),
        ("faults:\n  - {hang: , probability: x}", "2: faults[0].probability: "),
        ("faults:\n  - {hang: , method: 7}", "2: faults[0].method: "),
        (
            "faults:\n  - {hang: , operation: [1]}",
            "2: faults[0].operation: a whole number or a text is expected; got [1]",
        ),
        ("faults:\n  - {hang: , seed: [1]}", "2: faults[0].seed: "),
        ("faults:\n  - {hang: , times: x}", "2: faults[0].times: a whole number, 0 or more is expected; got 'x'"),
        ("faults:\n  - {hang: , times: }", "2: faults[0].times: a whole number, 0 or more is expected; got None"),
        (
            "faults:\n  - {hang: , operation: 0}",
            "2: faults[0].operation: an operation is an id, or a number from 1; got 0",
        ),
        ("faults:\n  - {hang: , calls: -1}", "2: faults[0].calls: calls are numbers from 1; got -1"),
        ("faults:\n  - crash: {lose: true}", "2: faults[0].crash.lose: unknown key; known are keep, down"),
        ("faults:\n  - wrong_type: {type: no.Such}", "2: faults[0].wrong_type: unknown message type 'no.Such'"),
        ("faults:\n  - delay: {seconds: -1}", "2: faults[0].delay: seconds is a finite number, 0 or more; got -1"),
        ("faults:\n  - delay: {seconds: x}", "2: faults[0].delay.seconds: a number is expected; got 'x'"),
        ("faults:\n  - delay:", "2: faults[0].delay: seconds is required"),
        (
            "faults:\n  - lose_reply: {connection: 5}",
            "2: faults[0].lose_reply.connection: true or false is expected; got 5",
        ),
        ("faults:\n  - garbage: {data: 5}", "2: faults[0].garbage.data: a text or !!binary is expected; got 5"),
        ("faults:\n  - delay: 5", "2: faults[0].delay: a mapping is expected"),
        ("faults: 5", "1: faults: a list is expected"),
        ("- faults", "1: script: a mapping is expected"),
        ("faults:\nfaults:", "2: faults: the key appears twice"),
        ("replies: {'(': x}", "1: replies['(']: the pattern '(' is no regular expression: missing )"),
        ("replies: {x: {status: BAD}}", "1: replies['x'].status: unknown status 'BAD'"),
        ("replies: {x: [1]}", "1: replies['x']: a text or a mapping is expected"),
        ("replies: {x: }", "1: replies['x']: a text or a mapping is expected"),
        (
            "faults:\n  - fail:\n      status: ABORTED\n      details:\n        - {'@type': no.Such}",
            "5: faults[0].fail.details[0]: @type names no known message: 'no.Such'",
        ),
        (
            "faults:\n  - fail:\n      status: ABORTED\n      details:\n        - {'@type': google.rpc.Help, x: 1}",
            "5: faults[0].fail.details[0]: ",
        ),
        ("faults: [", "1: "),
        ("a: b: c", "1: "),
        ("a: *x", "1: "),
        ("a: \x00", ""),
        ("faults: " + "[" * 2000, " nested too deeply"),
        ("faults: " + "[" * 2000 + "]" * 2000, " nested too deeply"),
        ("a: 1\n---\nb: 2", "2: "),
        ("faults:\n  - garbage: {data: !!python/name:os.system }", "2: "),
    ],
    ids=lambda text: text[:60],
)
def test_a_mistake_in_a_script_names_its_line_and_key(text: str, expected: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(text, "faults.yaml")
    assert str(caught.value).startswith(f"faults.yaml:{expected}" if expected else "faults.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_script_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="it can't be read"):
        load_script(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"replies: {x: \xe9}")
    with pytest.raises(ScriptError, match="it can't be read"):
        load_script(tmp_path / "latin.yaml")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(RuntimeError, match=r"pip install 'yagrpc\[emulator\]'"):
        parse_script("")


values: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["fail", "hang", "delay", "garbage", "calls", "method", "status", "seconds", "data", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(said=st.dictionaries(st.sampled_from(["faults", "replies"]), values | st.lists(values, max_size=2)))
def test_anything_is_understood_or_refused(said: Any) -> None:
    try:
        parse_script(yaml.safe_dump(said, allow_unicode=True))
    except ScriptError as error:
        assert "\n" not in str(error)

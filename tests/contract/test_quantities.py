"""Numbers of numpy, spans of time and UUIDs, from the call to the wire, on both clients."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import numpy
import pytest

import yagrpc
from yagrpc.emulator import Emulator

MINUTE = timedelta(minutes=1)


def test_numbers_of_numpy_are_sent(subject: Any, client: Any, emulator: Emulator) -> None:
    given = {"max_tokens": numpy.int64(900), "temperature": numpy.float32(0.5), "request_id": (name := uuid.uuid4())}
    answer = subject(client.completion("hi", timeout=MINUTE, **given))
    record = emulator.requests[-1]
    sent: Any = record.request
    assert (sent.completion_options.max_tokens.value, sent.completion_options.temperature.value) == (900, 0.5)
    assert answer.ids.client_request_id == str(name)
    assert dict(record.metadata)["x-client-request-id"] == str(name)
    vectors = subject(client.text_embedding("hi", dim=numpy.int64(768), timeout=numpy.int32(60)))
    assert len(vectors.vectors[0]) == 768


def test_a_wait_takes_a_span_of_time(subject: Any, client: Any, emulator: Emulator) -> None:
    operation = subject(client.completion_async("hi", timeout=MINUTE))
    assert not subject(operation.done(MINUTE))
    subject(operation.refresh(numpy.float32(60)))
    with pytest.raises(yagrpc.OperationTimeoutError, match="not done within 0 s"):
        subject(operation.result(timedelta(0)))
    emulator.advance(3600)
    assert subject(operation.result(MINUTE)).text
    assert subject(subject.in_loop(lambda: yagrpc.gather(operation, timeout=MINUTE)))
    assert subject(yagrpc.wait([operation], timeout=MINUTE)).done == {operation}
    assert subject(iter_all(subject, operation)) == [operation]


def iter_all(subject: Any, operation: Any) -> Any:
    """What `as_completed` gives."""
    completed = yagrpc.as_completed([operation], timeout=numpy.int64(60))
    return iter(completed) if subject.kind == "sync" else aiter(completed)

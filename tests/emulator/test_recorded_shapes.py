"""The emulator's answers have the shapes of the service's own, where recordings of these are at hand.

Each recorded request goes to the emulator, and what comes back is compared as proto JSON: the same fields, with values
of the same types, at the same places. Recordings of 2024 lack the details of token counts, which came in 2025.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from yagrpc import _pb
from yagrpc.emulator import paths

if TYPE_CHECKING:
    from tests.emulator.conftest import Emulate, Service

RECORDINGS = "YAGRPC_RECORDINGS"


def _files() -> list[Any]:
    folder = os.environ.get(RECORDINGS)
    if not folder:
        unset = pytest.mark.skip(reason=f"{RECORDINGS} is not set")
        return [pytest.param(Path(), id="unset", marks=unset)]
    return [pytest.param(file, id=file.stem) for file in sorted(Path(folder).glob("*.json"))]


@pytest.mark.parametrize("file", _files())
def test_answers_have_the_recorded_shape(emulate: Emulate, file: Path) -> None:
    service = emulate(duration=10)
    recorded = json.loads(file.read_text("utf-8"))
    gets = [call["responses"][0].get("done", False) for call in recorded if call["method"] == paths.OPERATION_GET]
    operation_id = ""
    for call in recorded:
        request = call["request"]
        if call["method"] == paths.OPERATION_GET:
            request = {"operationId": operation_id}
            if gets.pop(0):
                service.emulator.advance(10)
        answers = ask(service, call["method"], request)
        if call["method"] in (paths.COMPLETION_ASYNC, paths.IMAGE_GENERATE):
            operation_id = answers[0]["id"]
        # How many messages a stream has depends on its text; each has the one shape, but for the last one's status.
        pairs = [(call["responses"][0], answers[0]), (call["responses"][-1], answers[-1])]
        for theirs, ours in pairs:
            assert shape(ours) == shape(theirs)


def ask(service: Service, path: str, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The answers to a request, as proto JSON."""
    _, name, method_name = path.split("/")
    _pb.load_messages()
    method = _pb.POOL.FindServiceByName(name).methods_by_name[method_name]
    sent = message_factory.GetMessageClass(method.input_type)()
    json_format.ParseDict(request, sent, descriptor_pool=_pb.POOL)
    response_type = message_factory.GetMessageClass(method.output_type)
    make: Any = service.channel.unary_stream if method.server_streaming else service.channel.unary_unary
    answer: Any = make(
        path, request_serializer=type(sent).SerializeToString, response_deserializer=response_type.FromString
    )(sent)
    answers: list[Message] = list(answer) if method.server_streaming else [answer]
    return [json_format.MessageToDict(message, descriptor_pool=_pb.POOL) for message in answers]


def shape(value: Any, key: str = "") -> Any:
    """A value without what differs from one answer to the next: texts, numbers, how long a list is."""
    if key in ("status", "role", "@type", "description", "done", "special", "name"):
        return value
    if key == "arguments":
        return sorted(value)
    if isinstance(value, dict):
        left_out = {"completionTokensDetails", "special"}
        return {name: shape(inner, name) for name, inner in sorted(value.items()) if name not in left_out}
    if isinstance(value, list):
        return len(value) if key == "embedding" else [shape(value[0])]
    if key == "id" and isinstance(value, str):
        return value[:3] if not value.isdigit() else "digits"
    return type(value).__name__


def test_a_difference_is_noticed() -> None:
    assert shape({"id": "d7qx", "done": True}) != shape({"id": "d7qx"})
    assert shape({"id": "d7qx"}) != shape({"id": "fbvx"})
    assert shape({"usage": {"total": "1"}}) != shape({"usage": {"total": 1}})
    assert shape({"embedding": [0.5]}) != shape({"embedding": [0.5, 0.5]})

"""Real requests and answers parse into our messages and come back unchanged.

The recordings are no part of this repository: YAGRPC_RECORDINGS names their folder, which holds JSON files,
each a list of {"method", "request", "responses"} in proto JSON. Methods are found in the pool by their path,
so a recording of a service without definitions here is a failure.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

from yagrpc import _pb

RECORDINGS = "YAGRPC_RECORDINGS"


def _files() -> list[Any]:
    folder = os.environ.get(RECORDINGS)
    if not folder:
        unset = pytest.mark.skip(reason=f"{RECORDINGS} is not set")
        return [pytest.param(Path(), id="unset", marks=unset)]
    files = sorted(Path(folder).glob("*.json"))
    assert files, f"there are no recordings in {folder}"
    return [pytest.param(file, id=file.stem) for file in files]


@pytest.mark.parametrize("file", _files())
def test_messages_come_back_unchanged(file: Path, loaded_pool: None) -> None:
    calls = json.loads(file.read_text(encoding="utf-8"))
    assert calls
    for call in calls:
        method = _method(call["method"])
        assert call["responses"]
        assert method.server_streaming or len(call["responses"]) == 1
        _check_round_trip(method.input_type, call["request"])
        for response in call["responses"]:
            _check_round_trip(method.output_type, response)


def test_a_difference_is_noticed(loaded_pool: None) -> None:
    descriptor = _pb.POOL.FindMessageTypeByName("yandex.cloud.operation.GetOperationRequest")
    _check_round_trip(descriptor, {"operationId": "d7q"})
    with pytest.raises(json_format.ParseError):
        _check_round_trip(descriptor, {"operation": "d7q"})
    with pytest.raises(AssertionError):
        _check_round_trip(descriptor, {"operationId": ""})


@pytest.fixture(scope="module")
def loaded_pool() -> None:
    """Load all modules, since a file enters the pool when its module is first asked for."""
    for name in _pb.MODULES:
        getattr(_pb, name)


def _method(path: str) -> MethodDescriptor:
    _, service, name = path.split("/")
    method: MethodDescriptor = _pb.POOL.FindServiceByName(service).methods_by_name[name]
    return method


def _check_round_trip(descriptor: Descriptor, recorded: dict[str, Any]) -> None:
    """Parse strictly and compare as messages, as bytes and, with the recording, as proto JSON."""
    cls = message_factory.GetMessageClass(descriptor)
    message = _parse(recorded, cls)
    as_dict = json_format.MessageToDict(message, descriptor_pool=_pb.POOL)
    # Recordings follow proto JSON (no defaults, int64 as strings, enum names), so they compare as they are.
    assert as_dict == recorded
    assert _parse(as_dict, cls) == message
    # Deterministic, since the maps inside a Struct have no order of their own.
    data = message.SerializeToString(deterministic=True)
    again = cls.FromString(data)
    assert again == message
    assert again.SerializeToString(deterministic=True) == data


def _parse(recorded: dict[str, Any], cls: type[Message]) -> Message:
    return json_format.ParseDict(recorded, cls(), descriptor_pool=_pb.POOL)

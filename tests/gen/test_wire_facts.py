"""Our definitions against the wire facts: the names, numbers, types and options that the service speaks.

The comparison is driven from the facts and goes both ways: a node that only one side has is a difference. The
facts are no part of this repository: YAGRPC_WIRE_FACTS names their file. That the comparison notices every
change is tested without them, on descriptions of our own files.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yagrpc import _pb

if TYPE_CHECKING:
    from tests.gen.conftest import Wire, WireShape

    Facts = dict[str, Wire]
    Files = dict[str, _pb.descriptor_pb2.FileDescriptorProto]

PROTO = Path(__file__).parents[2] / "proto"
TOKEN = "yandex/cloud/iam/v1/iam_token_service.proto"
GENERATION = "yandex/cloud/ai/foundation_models/v1/text_generation/text_generation_service.proto"


def test_every_file_of_ours_is_in_the_facts(our_files: Files, wire_facts: Facts) -> None:
    assert our_files.keys() - wire_facts.keys() == set()


def test_files_are_the_same_on_the_wire(our_files: Files, wire_facts: Facts, wire_shape: WireShape) -> None:
    expected = {path: file for path, file in wire_facts.items() if path in our_files}
    found = {path: wire_shape.describe(file) for path, file in our_files.items()}
    assert wire_shape.differences(expected, found) == []


def test_every_definition_is_generated_and_exposed(our_files: Files) -> None:
    if not PROTO.is_dir():
        pytest.skip("the definitions are not beside the tests")
    ours = {f"{module.removesuffix('_pb2').replace('.', '/')}.proto" for module in _pb.MODULES.values()}
    written = {path.relative_to(PROTO).as_posix() for path in PROTO.rglob("*.proto")}
    assert written <= ours
    # What is not the service's is the emulator's own.
    assert {path for path in written if not path.startswith("yagrpc/emulator/")} == our_files.keys()


def test_a_file_does_not_differ_from_itself(our_files: Files, wire_shape: WireShape) -> None:
    for path, file in our_files.items():
        assert wire_shape.differences(wire_shape.describe(file), wire_shape.describe(file)) == [], path


def test_changes_are_reported_by_name(our_files: Files, wire_shape: WireShape) -> None:
    found = wire_shape.describe(our_files[TOKEN])

    def report(change: str) -> str:
        expected = copy.deepcopy(found)
        request, account = expected["messages"][:2]
        create = expected["services"][0]["methods"][0]
        match change:
            case "rename":
                request["fields"][1]["name"] = "json_web_token"
            case "renumber":
                request["fields"][1]["number"] = 12
            case "retype":
                request["fields"][1]["type"] = "bytes"
            case "relabel":
                request["fields"][1]["label"] = "repeated"
            case "leave the oneof":
                del request["fields"][1]["oneof"]
            case "reorder":
                request["fields"].reverse()
            case "drop a field":
                del request["fields"][1]
            case "drop a custom option":
                del account["fields"][0]["options"]["yandex.cloud.required"]
            case "drop an option of a oneof":
                del request["oneofs"][0]["options"]
            case "drop a message":
                del expected["messages"][1]
            case "stream":
                create["server_streaming"] = True
            case "move":
                create["http"]["path"] = "/iam/v2/tokens"
            case "drop an import":
                expected["imports"].remove("yandex/cloud/validation.proto")
        return "\n".join(wire_shape.differences(expected, found))

    jwt = "messages[CreateIamTokenRequest] fields[jwt]"
    assert report("nothing") == ""
    assert "messages[CreateIamTokenRequest] fields[json_web_token] number: expected 2" in report("rename")
    assert report("renumber") == f"{jwt} number: expected 12, found 2"
    assert report("retype") == f"{jwt} type: expected 'bytes', found 'string'"
    assert report("relabel") == f"{jwt} label: expected 'repeated', found 'optional'"
    assert report("leave the oneof") == f"{jwt} oneof: expected nothing, found 'identity'"
    assert "messages[CreateIamTokenRequest] fields (order)" in report("reorder")
    assert f"{jwt} number: expected nothing, found 2" in report("drop a field")
    assert "yandex.cloud.required: expected nothing, found True" in report("drop a custom option")
    assert "oneofs[identity] options yandex.cloud.exactly_one" in report("drop an option of a oneof")
    assert "messages[CreateIamTokenForServiceAccountRequest] full_name" in report("drop a message")
    assert "methods[Create] server_streaming: expected True, found False" in report("stream")
    assert "methods[Create] http path: expected '/iam/v2/tokens'" in report("move")
    assert report("drop an import").startswith("imports: ")


def test_the_type_of_an_operation_is_compared(our_files: Files, wire_shape: WireShape) -> None:
    found = wire_shape.describe(our_files[GENERATION])
    expected = copy.deepcopy(found)
    service = next(node for node in expected["services"] if node["name"] == "TextGenerationBatchService")
    service["methods"][0]["operation"]["metadata"] = "BatchCompletionResponse"
    (difference,) = wire_shape.differences(expected, found)
    assert difference.startswith("services[TextGenerationBatchService] methods[Completion] operation ")


def test_no_change_anywhere_goes_unseen(our_files: Files, wire_shape: WireShape) -> None:
    changes = 0
    for path, file in our_files.items():
        found = wire_shape.describe(file)
        for place, expected in _changed(found, path):
            changes += 1
            assert wire_shape.differences(expected, found) != [], place
    assert changes > 1000


def _changed(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield copies of a description, each with one value changed, one node removed or two nodes swapped."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{place} without {key}", {name: kept for name, kept in node.items() if name != key}
            for where, changed in _changed(value, f"{place} {key}"):
                yield where, {**node, key: changed}
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield f"{place} without [{index}]", node[:index] + node[index + 1 :]
            if index:
                yield (
                    f"{place} with [{index}] swapped",
                    [*node[: index - 1], value, node[index - 1], *node[index + 1 :]],
                )
            for where, changed in _changed(value, f"{place}[{index}]"):
                yield where, [*node[:index], changed, *node[index + 1 :]]
    else:
        yield f"{place} changed", f"not {node}"

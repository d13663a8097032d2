"""What a peer can make the emulator hold, or do: everything has a budget, and others are served meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zlib
from typing import Any

import grpc
import pytest

from tests.emulator.conftest import Service
from yagrpc import _pb
from yagrpc.emulator import paths, received
from yagrpc.emulator.answers.instances import minimal_instance
from yagrpc.emulator.cloud import auth, operations
from yagrpc.emulator.received import KEPT_BYTES, MOST_UNSERVED, OTHER_PATHS
from yagrpc.emulator.services.checks import MAX_TOKENIZED

MIB = 1024 * 1024
LONGEST = 3_500_000
"""Characters of the longest answer to a schema: six for each unit of the budget, and what JSON adds."""

TREE: dict[str, Any] = {
    "type": "object",
    "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}},
    "required": ["left", "right"],
}
"""A schema whose least instance doubles with each level."""

LONG_TEXT = {"type": "string", "minLength": 100_000}

HUNGRY: dict[str, dict[str, Any]] = {
    "two required references": TREE,
    "items in items": {"type": "array", "minItems": 100_000, "items": {"$ref": "#"}},
    "two items": {"type": "array", "minItems": 2, "items": {"$ref": "#"}},
    "long texts": {"type": "array", "minItems": 100_000, "items": LONG_TEXT},
    "a constant that is repeated": {"type": "array", "minItems": 100_000, "items": {"const": "x" * 20_000}},
    "a choice that is repeated": {"type": "array", "minItems": 100_000, "items": {"enum": [["x"] * 10_000]}},
    "long names": {
        "type": "array",
        "minItems": 100_000,
        "items": {"type": "object", "required": ["y" * 20_000], "additionalProperties": {"type": "null"}},
    },
    "names that are required again and again": {
        "type": "object",
        "required": [str(number) for number in range(2000)],
        "additionalProperties": {"$ref": "#"},
        "allOf": [{"required": [str(number) for number in range(2000)]}] * 100,
    },
    "parts that refer to the whole": {"allOf": [{"$ref": "#"}] * 5000, "properties": {"a": {"$ref": "#"}}},
    "choices of choices": {"anyOf": [{"oneOf": [{"$ref": "#"}] * 3000}] * 3, "required": ["a"]},
    "text of the user": {"type": "array", "minItems": 100_000, "items": {"type": "string"}},
}


@pytest.mark.parametrize("schema", HUNGRY.values(), ids=HUNGRY.keys())
def test_an_instance_has_a_budget(schema: dict[str, Any]) -> None:
    start = time.process_time()
    built = json.dumps(minimal_instance(schema, "word " * 1000))
    assert len(built) < LONGEST
    assert time.process_time() - start < 60  # without a budget: hours


def test_an_answer_to_a_recursive_schema_keeps_nobody_waiting(service: Service, ask: Any) -> None:
    request = ask("ping")
    request.json_schema.schema.update(TREE)
    answer = service.complete(request, timeout=60)
    assert json.loads(answer.alternatives[0].message.text)["left"]
    assert service.complete(ask("ping"), timeout=60)


def large(ask: Any, size: int) -> Any:
    """A valid request of a size: by a field that nobody knows."""
    request = ask("ping")
    request.MergeFromString(b"\xc2\x3e" + _varint(size) + bytes(size))
    return request


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*digits, number])


def test_the_last_requests_are_kept_up_to_a_number_of_bytes(service: Service, ask: Any) -> None:
    size = KEPT_BYTES // 5
    for _ in range(7):
        service.complete(large(ask, size), timeout=60)
    kept = service.emulator.requests
    assert [len(one.request.SerializeToString()) > size for one in kept] == [True] * 4
    service.complete(ask("last"), timeout=60)
    assert service.emulator.requests[-1].request == ask("last")
    service.complete(large(ask, KEPT_BYTES - 200), timeout=60)
    assert len(service.emulator.requests) == 1


def test_paths_that_are_not_served_are_counted_together_when_there_are_many(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(received, "MOST_UNSERVED", 10)
    for number in range(30):
        call: Any = service.channel.unary_unary(f"{paths.CLOUD}Service/{number % 20}")
        with pytest.raises(grpc.RpcError):
            call(b"", timeout=60)
    calls = service.emulator.calls
    assert len(calls) == 11
    assert calls[OTHER_PATHS] == 10
    assert service.emulator.refusals.total() == 30
    assert MOST_UNSERVED == 1000


def test_tokens_are_remembered_up_to_a_number(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MOST_TOKENS", 3)
    revoke = _pb.iam_token_service_pb2.RevokeIamTokenRequest
    for number in range(5):
        service.tokens.Revoke(revoke(iam_token=f"t{number}"), timeout=60)
        service.tokens.Create(
            _pb.iam_token_service_pb2.CreateIamTokenRequest(yandex_passport_oauth_token="y"), timeout=60
        )
    guard = service.emulator._state.guard
    assert list(guard._revoked) == ["t2", "t3", "t4"]
    assert len(guard._issued) == 3


def test_a_submit_beyond_the_budget_of_operations_is_refused(
    emulate: Any, ask: Any, refused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "KEPT_BYTES", MIB)
    service = emulate(duration=10.0)
    first = service.text_async.Completion(large(ask, MIB // 2), timeout=60)
    refusal = refused(service.text_async.Completion, large(ask, MIB // 2), timeout=60)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert "advance its clock" in refusal.message
    assert service.emulator.generations[paths.COMPLETION_ASYNC] == 1
    service.text_async.Completion(ask("small"), timeout=60)
    # An answer takes the place of its request, and an operation that has expired makes room.
    service.emulator.advance(20)
    assert service.get(first.id, timeout=60).done
    second = service.text_async.Completion(large(ask, MIB // 2), timeout=60)
    service.emulator.advance(operations.RETENTION_SECONDS)
    service.text_async.Completion(large(ask, MIB // 2), timeout=60)
    with pytest.raises(grpc.RpcError):
        service.get(second.id, timeout=60)


def test_an_answer_beyond_the_budget_is_built_again_for_each_get(
    emulate: Any, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "KEPT_BYTES", 10_000)
    service = emulate(duration=1.0, replies={"long": "x" * 20_000})
    operation = service.text_async.Completion(ask("long"), timeout=60)
    service.emulator.advance(2)
    assert service.get(operation.id, timeout=60) == service.get(operation.id, timeout=60)
    assert service.get(operation.id, timeout=60).response.value.count(b"x") >= 20_000
    assert len(service.text_async.Completion(ask("small"), timeout=60).id) == 20
    assert service.cancel(operation.id).response.value


def test_a_request_of_very_many_tokens_is_refused_without_its_tokens(service: Service, ask: Any, refused: Any) -> None:
    request = ask("ping")
    request.messages[0].role = "assistant"
    text = ". " * 50_000
    for _ in range(MAX_TOKENIZED // 50_000):
        request.messages.add(role="user", text=text)
    refusal = refused(service.tokenizer.TokenizeCompletion, request, timeout=60)
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"no more than {MAX_TOKENIZED}" in refusal.message


def test_labels_and_examples_of_any_number_are_classified(service: Service) -> None:
    count = 20_000
    request = _pb.text_classification_service_pb2.FewShotTextClassificationRequest(
        model_uri="cls://b1gfolder/yandexgpt/latest",
        task_description="which",
        labels=[f"label {number}" for number in range(count)],
        text="some words " * 5000,
    )
    for number in range(count):
        request.samples.add(text="a", label=f"label {number}")
    assert len(service.classification.FewShotClassify(request, timeout=80).predictions) == count


# Compressed requests


def packing(service: Service) -> grpc.Channel:
    """A channel whose requests are compressed."""
    return grpc.insecure_channel(service.emulator.address, compression=grpc.Compression.Gzip)


def test_a_compressed_request_is_served(emulate: Any, ask: Any) -> None:
    service = emulate(control=True)
    with packing(service) as channel:
        text = _pb.text_generation_service_pb2_grpc.TextGenerationServiceStub(channel)
        assert list(text.Completion(ask("ping"), timeout=60))
        assert service.emulator.requests[-1].request == ask("ping")
        control = _pb.control_pb2_grpc.ControlServiceStub(channel)
        assert control.AdvanceTime(_pb.control_pb2.AdvanceTimeRequest(seconds=1.0), timeout=60).now.seconds


SERVING = """
import sys
from yagrpc.emulator import Emulator
with Emulator(control=True) as emulator:
    print(emulator.address, flush=True)
    sys.stdin.read()
    print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process took since it began")
@pytest.mark.parametrize("path", [paths.TOKENIZE, "/yagrpc.emulator.v1.ControlService/Reset"])
def test_a_compressed_request_is_unpacked_up_to_the_limit_only(path: str) -> None:
    pack = zlib.compressobj(wbits=31)
    head = b"\xc2\x3e" + _varint(384 * MIB)
    packed = pack.compress(head) + b"".join(pack.compress(bytes(MIB)) for _ in range(384)) + pack.flush()
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    with grpc.insecure_channel(address) as channel:
        # As the message of a compressed request: the server does not ask whether it was said to be one.
        call: Any = channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as caught:
            call(packed, timeout=60)
        piped = path.startswith(paths.CLOUD)
        code = grpc.StatusCode.RESOURCE_EXHAUSTED if piped else grpc.StatusCode.UNKNOWN
        assert caught.value.code() is code
    output, _ = process.communicate("", timeout=60)
    assert process.returncode == 0
    assert int(output) * 1024 < 400 * MIB

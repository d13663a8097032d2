"""Every rpc that has an HTTP rule gives one answer, over gRPC and over REST, to any request.

Requests are drawn from the descriptors: most are invalid, so that refusals are compared as well. Ids and times differ
between two calls, and are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import grpc
import httpx
import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.emulator import Emulator, paths
from yagrpc.emulator.http.app import all_methods
from yagrpc.method import AnyMethod, HttpRule, OperationMethod, StreamMethod
from yagrpc.rest import HTTP_STATUS, to_json
from yagrpc.rest.requests import is_repeated

METHODS: list[AnyMethod] = [method for method in all_methods() if method.http is not None]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
KNOWN = {
    "model_uri": st.sampled_from(
        ["gpt://f/yandexgpt", "emb://f/text-search-doc/latest", "cls://f/yandexgpt/latest", "x"]
    ),
    "role": st.sampled_from(["user", "assistant", "system", "tool"]),
    "operation_id": st.sampled_from(["d7qknown", "a/b", "a:cancel", "я", "%2F", " "]),
    "api_endpoint_id": st.sampled_from(["operation", "iam", "nope"]),
    "temperature": st.sampled_from([{"value": 0.5}, {"value": 7.0}]),
}
"""Values of fields that a drawn one would hardly ever meet."""

SOUND: dict[str, dict[str, Any]] = {
    "CompletionRequest": {
        "model_uri": "gpt://f/yandexgpt",
        "messages": [{"role": "user", "text": "Привет"}],
        "completion_options": {"max_tokens": {"value": 50}},
    },
    "TokenizeRequest": {"model_uri": "gpt://f/yandexgpt", "text": "слова и слова"},
    "TextEmbeddingRequest": {"model_uri": "emb://f/text-search-doc/latest", "text": "слова"},
    "TextClassificationRequest": {"model_uri": "cls://f/yandexgpt/latest", "text": "слова"},
    "FewShotTextClassificationRequest": {
        "model_uri": "cls://f/yandexgpt/latest",
        "task_description": "Find the tone",
        "labels": ["good", "bad"],
        "text": "слова",
        "samples": [],
    },
    "ImageGenerationRequest": {
        "model_uri": "art://f/yandex-art/latest",
        "messages": [{"text": "кот", "weight": 1.0}],
        "generation_options": {},
    },
}
"""What makes a request of a type one that the service takes."""

UNIQUE = re.compile(r'"(id|createdAt|modifiedAt|iamToken|expiresAt|requestId)":\s*"[^"]*"')


def values(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any]:
    """Values of one field, as a message's constructor takes them."""
    if field.name in KNOWN:
        return KNOWN[field.name]
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_MESSAGE:
        return messages(field.message_type, depth - 1)
    if kind == FieldDescriptor.CPPTYPE_ENUM:
        assert field.enum_type is not None
        return st.sampled_from([value.number for value in field.enum_type.values])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return st.binary(max_size=8) if field.type == FieldDescriptor.TYPE_BYTES else TEXT
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return st.floats(0, 2, width=32)
    unsigned = kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return st.integers(0 if unsigned else -5, 5000)


def messages(descriptor: Any, depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of any message of a type."""
    if descriptor.full_name == "google.protobuf.Struct":
        return st.just({})
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for field in descriptor.fields:
        if field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE and depth == 0:
            continue
        if field.containing_oneof is not None and field.containing_oneof.fields[0] is not field:
            continue  # two of a oneof can't be set
        one = values(field, depth)
        optional[field.name] = st.lists(one, max_size=3) if is_repeated(field) else one
    return st.fixed_dictionaries({}, optional=optional)


class Halves:
    """An emulator's two halves."""

    def __init__(self, emulator: Emulator) -> None:
        self.channel = grpc.insecure_channel(emulator.address)
        self.http = httpx.Client(base_url=f"http://{emulator.rest_address}", trust_env=False)

    def close(self) -> None:
        """Close both."""
        self.channel.close()
        self.http.close()

    def over_grpc(self, method: AnyMethod, request: Message) -> tuple[int, Any]:
        """The HTTP status that the answer should have, and the messages, or the text of the refusal."""
        answer_type: Any = method.operation_type if isinstance(method, OperationMethod) else method.response_type
        serialize, read = method.request_type.SerializeToString, answer_type.FromString
        try:
            if isinstance(method, StreamMethod):
                found = list(self.channel.unary_stream(method.path, serialize, read)(request))
            else:
                found = [self.channel.unary_unary(method.path, serialize, read)(request)]
        except grpc.RpcError as error:
            return HTTP_STATUS[error.code()], error.details()
        return 200, [to_json(one) for one in found]

    def over_rest(self, rule: HttpRule, request: Message, *, snake_case: bool) -> tuple[int, Any]:
        """The same, as REST gives it."""
        fields = json_format.MessageToDict(request, preserving_proto_field_name=snake_case, descriptor_pool=_pb.POOL)
        path = rule.path
        for name in re.findall(r"\{(\w+)\}", path):
            path = path.replace(f"{{{name}}}", quote(getattr(request, name), safe=""))
            fields.pop(request.DESCRIPTOR.fields_by_name[name].json_name, None)
            fields.pop(name, None)
        query = "" if rule.body else urlencode({name: str(value) for name, value in fields.items()})
        content = json.dumps(fields).encode() if rule.body else None
        answer = self.http.request(rule.verb, f"{path}?{query}" if query else path, content=content)
        if answer.status_code == 200:
            found = [json.loads(line) for line in answer.text.splitlines()]
            return 200, [one["result"] if rule.path.endswith("/completion") else one for one in found]
        body = answer.json()
        return answer.status_code, body["error"]["message"] if "error" in body else body["message"]


@pytest.fixture(scope="module")
def halves() -> Iterator[Halves]:
    """One emulator for all requests: operations run for ever, so that none ends between two calls."""
    with Emulator(rest=True, duration=float("inf"), frozen=True) as emulator:
        made = Halves(emulator)
        yield made
        made.close()


def comparable(answer: Any) -> str:
    """An answer without what differs from call to call."""
    return UNIQUE.sub(r'"\1": ""', json.dumps(answer, ensure_ascii=False))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.path.rpartition(".")[2])
@settings(
    max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(data=st.data())
def test_both_halves_give_one_answer(halves: Halves, method: AnyMethod, data: st.DataObject) -> None:
    fields = data.draw(messages(method.request_type.DESCRIPTOR))
    if data.draw(st.booleans()):
        fields |= SOUND.get(method.request_type.DESCRIPTOR.name, {})
    request: Message = method.request_type(**fields)
    assert method.http is not None
    if any(not getattr(request, name) for name in re.findall(r"\{(\w+)\}", method.http.path)):
        return  # a path has no place for an empty field
    expected = halves.over_grpc(method, request)
    for snake_case in (False, True):
        found = halves.over_rest(method.http, request, snake_case=snake_case)
        assert found[0] == expected[0]
        assert comparable(found[1]) == comparable(expected[1])


def test_every_method_of_the_emulator_has_a_rule() -> None:
    served = {getattr(paths, name) for name in paths.__all__ if isinstance(getattr(paths, name), str)} - {paths.CLOUD}
    assert served <= {method.path for method in METHODS}

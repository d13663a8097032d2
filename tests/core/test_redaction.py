"""The logs show no secret of a message, where they show texts."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from yagrpc import _pb
from yagrpc.redaction import is_secret_name, loggable

MARK = "UnmistakableSecret"
SERVICE = "example.Things"

TEXT, BYTES, MESSAGE, NUMBER = (
    descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
    descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
)


def message_type(package: str = "example") -> Any:
    """A message that some other proto might have: its fields are texts, bytes, messages and maps."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    thing = file.message_type.add(name="Thing")
    for number, (name, kind, repeated) in enumerate(
        [
            ("password", TEXT, False), ("iam_token", TEXT, False), ("private_key", BYTES, False),
            ("secrets", TEXT, True), ("credential", MESSAGE, False), ("inner", MESSAGE, False), ("all", MESSAGE, True),
            ("marked", TEXT, False), ("text", TEXT, False), ("token_count", NUMBER, False), ("page_token", TEXT, False),
        ],
        start=1,
    ):  # fmt: skip
        label = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if repeated else 1
        field = thing.field.add(name=name, number=number, type=kind, label=label)
        if kind == MESSAGE:
            field.type_name = f".{package}.Thing"
        if name == "marked":
            field.options.debug_redact = True
    entry = thing.nested_type.add(name="LabelsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=TEXT, label=1)
    entry.field.add(name="value", number=2, type=TEXT, label=1)
    thing.field.add(name="labels", number=20, type=MESSAGE, type_name=f".{package}.Thing.LabelsEntry", label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.Thing"))


def secretive(kind: Any, **further: Any) -> Any:
    return kind(
        password=MARK, iam_token=MARK, private_key=MARK.encode(), secrets=[MARK], marked=MARK, text="seen",
        token_count=7, page_token="next", labels={"api-key": MARK, "colour": "red"}, **further,
    )  # fmt: skip


def test_fields_are_hidden_by_their_names_wherever_they_are() -> None:
    kind = message_type()
    message = secretive(kind, credential=kind(text=MARK), inner=secretive(kind), all=[secretive(kind)] * 2)
    before = message.SerializeToString(deterministic=True)
    text = loggable(message, SERVICE)
    assert MARK not in text
    assert text.count('text: "seen"') == text.count("token_count: 7") == text.count('"red"') == 4
    assert text.count('page_token: "next"') == 4
    assert message.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("package", ["yandex.cloud.iam.v1", "yandex.cloud.lockbox.v1", "yandex.cloud.kms.v1"])
def test_nothing_is_shown_of_a_message_about_secrets(package: str) -> None:
    assert loggable(message_type(package)(text=MARK), SERVICE) == ""
    assert loggable(message_type()(text=MARK), f"{package}.Things") == ""


def test_what_an_operation_packs_is_searched_too() -> None:
    operation = _pb.operation_pb2.Operation(id="d7q")
    for packed in (
        _pb.iam_token_service_pb2.CreateIamTokenResponse(iam_token=MARK),
        _pb.operation_pb2.Operation(id=f"AQVN{MARK}"),
        _pb.struct_pb2.Struct(fields={"password": _pb.struct_pb2.Value(string_value=MARK)}),
    ):
        operation.response.Pack(packed)
        text = loggable(operation, SERVICE)
        assert MARK not in text
        assert 'id: "d7q"' in text
        outer = _pb.operation_pb2.Operation(id="outer")
        outer.metadata.Pack(operation)
        assert MARK not in loggable(outer, SERVICE)
    operation.response.Pack(message_type()(text=MARK))
    assert MARK not in loggable(operation, SERVICE)
    assert "example.Thing" in loggable(operation, SERVICE)


def test_the_values_of_structs_are_hidden_by_their_keys() -> None:
    struct = _pb.struct_pb2.Struct()
    struct.update({"a": {"Password": MARK, "list": [{"apiKey": MARK, "tokens": 3}]}, "secret": [MARK], "b": "seen"})
    text = loggable(struct, SERVICE)
    assert MARK not in text
    assert "seen" in text
    assert "number_value: 3" in text


@pytest.mark.parametrize("name", sorted(vars(_pb.methods)))
def test_no_secret_of_our_own_protos_is_shown(name: str) -> None:
    """Every text of every message of the service that a name calls a secret; the tokens of a model are none."""
    service = getattr(_pb.methods, name)
    for method in vars(service).values() if isinstance(service, type) else ():
        for kind in (getattr(method, "request_type", None), getattr(method, "response_type", None)):
            if kind is not None:
                message = kind()
                for field in kind.DESCRIPTOR.fields:
                    if field.type == TEXT and "token" in field.name and not field.name.endswith("page_token"):
                        setattr(message, field.name, MARK)
                assert MARK not in loggable(message, SERVICE)


def test_a_text_is_shown_in_one_line_without_credentials() -> None:
    request = _pb.text_generation_service_pb2.TokenizeRequest(text=f"my key is\nAQVN{MARK}")
    assert loggable(request, SERVICE) == r'text: "my key is\n***"'


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("iam_token", True), ("yandex_passport_oauth_token", True), ("jwt", True), ("privateKey", True),
        ("api_keys", True), ("Authorization", True), ("x-api-key", True), ("user password", True),
        ("max_tokens", False), ("tokens", False), ("page_token", False), ("nextPageToken", False),
        ("public_key", False), ("key", False), ("text", False), ("", False), ("secretary", False),
    ],
)  # fmt: skip
def test_a_name_says_whether_its_value_is_a_secret(name: str, secret: bool) -> None:
    assert is_secret_name(name) is secret


@given(st.binary(max_size=60), st.text(max_size=60))
def test_no_message_makes_the_log_fail(value: bytes, name: str) -> None:
    operation = _pb.operation_pb2.Operation(id="d7q")
    operation.response.value = value
    for kind in ("google.protobuf.Any", "yandex.cloud.operation.Operation", "google.protobuf.Struct", name):
        operation.response.type_url = f"type.googleapis.com/{kind}"
        assert len(loggable(operation, SERVICE).splitlines()) <= 1


def test_packed_messages_are_followed_to_an_end() -> None:
    packed = _pb.any_pb2.Any()
    packed.Pack(_pb.struct_pb2.Struct(fields={"password": _pb.struct_pb2.Value(string_value=MARK)}))
    for _ in range(300):
        outer = _pb.any_pb2.Any()
        outer.Pack(packed)
        packed = outer
    assert MARK not in loggable(packed, SERVICE)

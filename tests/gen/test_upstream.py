"""`scripts/upstream.py`: each kind of difference is found, gets one row, and is judged by its effect on the wire."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import text_format

from yagrpc import _pb

if TYPE_CHECKING:
    from tests.conftest import OfficialEnvironment

SCRIPT = Path(__file__).parents[2] / "scripts/upstream.py"

SHOP = """
name: "shop/v1/shop.proto" package: "shop.v1" syntax: "proto3"
message_type {
  name: "Order"
  field { name: "id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "count" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }
  field { name: "line" number: 3 type: TYPE_MESSAGE type_name: ".shop.v1.Order.Line" label: LABEL_REPEATED }
  field { name: "colour" number: 4 type: TYPE_ENUM type_name: ".shop.v1.Colour" label: LABEL_OPTIONAL oneof_index: 0 }
  oneof_decl { name: "form" }
  nested_type { name: "Line" field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } }
}
enum_type { name: "Colour" value { name: "NONE" number: 0 } value { name: "RED" number: 1 } }
service {
  name: "ShopService"
  method { name: "Get" input_type: ".shop.v1.Order" output_type: ".shop.v1.Order" }
  method {
    name: "Buy" input_type: ".shop.v1.Order" output_type: ".yandex.cloud.operation.Operation"
    options { [yandex.cloud.api.operation] { response: "Order" metadata: "Order.Line" } }
  }
}
"""


@pytest.fixture(scope="module")
def upstream(script: Callable[[str], Any]) -> Any:
    return script("upstream")


def file(text: str) -> Any:
    """A file's descriptor from its text form."""
    _pb.load_messages()
    return text_format.Parse(text, _pb.descriptor_pb2.FileDescriptorProto(), descriptor_pool=_pb.POOL)


def rows(upstream: Any, *changes: tuple[str, str], more: str = "") -> list[tuple[str, str, str, bool]]:
    """The differences after some replacements in the file, with another file beside it where there is one."""
    text = SHOP
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    theirs = [file(text), *([file(more)] if more else [])]
    return [tuple(row) for row in upstream.differences([file(SHOP)], theirs)]


def test_equal_files_do_not_differ(upstream: Any) -> None:
    assert rows(upstream) == []


FIELD = 'field { name: "count" number: 2 type: TYPE_INT32 label: LABEL_OPTIONAL }'
RED = 'value { name: "RED" number: 1 }'
COUNT, VALUE = "field shop.v1.Order.count", "value shop.v1.Colour.RED"
GET = 'method { name: "Get" input_type: ".shop.v1.Order" output_type: ".shop.v1.Order" }'


@pytest.mark.parametrize(
    ("old", "new", "change", "what", "detail", "breaking"),
    [
        (FIELD, FIELD + FIELD.replace("count", "size").replace("2 type", "9 type"), "added", "field shop.v1.Order.size",
         "number 9, type int32", False),
        (FIELD, "", "removed", COUNT, "", True),
        (FIELD, FIELD.replace("count", "amount"), "changed", COUNT, "name: count -> amount", False),
        (FIELD, FIELD.replace("2 type", "9 type"), "changed", COUNT, "number: 2 -> 9", True),
        (FIELD, FIELD.replace("INT32", "INT64"), "changed", COUNT, "type: int32 -> int64", False),
        (FIELD, FIELD.replace("INT32", "SINT32"), "changed", COUNT, "type: int32 -> sint32", True),
        (FIELD, FIELD.replace("INT32", "DOUBLE"), "changed", COUNT, "type: int32 -> double", True),
        (FIELD, FIELD.replace("OPTIONAL", "REPEATED"), "changed", COUNT,
         "label: single -> repeated", True),
        (FIELD, FIELD[:-1] + "options { deprecated: true } }", "changed", COUNT,
         "deprecated: none -> True", False),
        (".shop.v1.Order.Line\"", ".shop.v1.Order\"", "changed", "field shop.v1.Order.line",
         "of: shop.v1.Order.Line -> shop.v1.Order", True),
        (" oneof_index: 0", "", "changed", "field shop.v1.Order.colour", "oneof: form -> none", False),
        (RED, RED + 'value { name: "BLUE" number: 2 }', "added", "value shop.v1.Colour.BLUE", "number 2", False),
        (RED, "", "removed", VALUE, "", True),
        (RED, RED.replace("1", "2"), "changed", VALUE, "number: 1 -> 2", True),
        (GET, "", "removed", "method shop.v1.ShopService.Get", "", True),
        (GET, GET + GET.replace("Get", "Put"), "added", "method shop.v1.ShopService.Put",
         "request shop.v1.Order, response shop.v1.Order", False),
        (GET, GET[:-1] + "server_streaming: true }", "changed", "method shop.v1.ShopService.Get",
         "streams: neither way -> of responses", True),
        (GET, GET[:-1] + 'options { [google.api.http] { get: "/orders" } } }', "changed",
         "method shop.v1.ShopService.Get", 'http: none -> get: "/orders"', False),
        ('response: "Order"', 'response: "Receipt"', "changed", "method shop.v1.ShopService.Buy",
         "result: Order -> Receipt", True),
    ],
)  # fmt: skip
def test_each_difference_is_one_row(
    upstream: Any, old: str, new: str, change: str, what: str, detail: str, breaking: bool
) -> None:
    assert rows(upstream, (old, new)) == [(change, what, detail, breaking)]


def test_what_is_within_something_gone_or_new_is_not_reported_again(upstream: Any) -> None:
    line = 'nested_type { name: "Line" field { name: "text" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } }'
    new = 'message_type { name: "New" field { name: "a" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL } } enum_type'
    assert rows(upstream, (line, ""), ("enum_type", new)) == [
        ("added", "message shop.v1.New", "", False),
        ("removed", "message shop.v1.Order.Line", "", True),
    ]


def test_a_new_file_is_reported_as_a_whole_and_a_move_breaks_nothing(upstream: Any) -> None:
    colour = 'enum_type { name: "Colour" value { name: "NONE" number: 0 } value { name: "RED" number: 1 } }'
    other = f'name: "shop/v1/new.proto" package: "shop.v1" {colour} service {{ name: "NewService" }}'
    assert rows(upstream, (colour, ""), more=other) == [
        ("changed", "enum shop.v1.Colour", "file: shop/v1/shop.proto -> shop/v1/new.proto", False),
        ("added", "file shop/v1/new.proto", "services NewService", False),
    ]
    assert [
        tuple(row) for row in upstream.differences([file(SHOP), file(other.replace(colour, ""))], [file(SHOP)])
    ] == [
        ("removed", "service shop.v1.NewService", "", True),
        ("removed", "file shop/v1/new.proto", "", False),
    ]


def test_another_kind_of_thing_breaks(upstream: Any) -> None:
    as_message = 'message_type { name: "Colour" }'
    colour = 'enum_type { name: "Colour" value { name: "NONE" number: 0 } value { name: "RED" number: 1 } }'
    assert ("changed", "message shop.v1.Colour", "kind: enum -> message", True) in rows(upstream, (colour, as_message))


def test_without_the_official_package_it_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"yandexcloud is not installed for {sys.executable}: pip install yandexcloud\n"


@pytest.mark.slow
def test_nothing_breaks_against_the_newest(official: Callable[[str], OfficialEnvironment]) -> None:
    done = official("yandexcloud").run("-W", "error", SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n| change | what | detail | breaks the wire |\n" in done.stdout
    assert "**yes**" not in done.stdout

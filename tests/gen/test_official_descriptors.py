"""Our definitions against the newest official package: has the service's wire format moved on?

`yandexcloud` is installed into an environment of its own and dumps its descriptors there. A difference fails
the test with one line per place; where the official side has more, it is a field to add here.
It is kept in between runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yagrpc import _pb

if TYPE_CHECKING:
    from tests.conftest import OfficialEnvironment
    from tests.gen.conftest import WireShape

    Files = dict[str, _pb.descriptor_pb2.FileDescriptorProto]

pytestmark = pytest.mark.slow

PACKAGE = "yandexcloud"


def test_definitions_match_the_official_package(
    official: Callable[[str], OfficialEnvironment], our_files: Files, wire_shape: WireShape, tmp_path: Path
) -> None:
    environment = official(PACKAGE)
    dump = Path(__file__).with_name("dump_official.py")
    dumped = environment.run(dump, tmp_path, *our_files)
    assert dumped.returncode == 0, dumped.stderr
    report: list[str] = []
    for path, ours in our_files.items():
        if not (tmp_path / path).is_file():
            report.append(f"{path}: not in the official package")
            continue
        theirs = _pb.descriptor_pb2.FileDescriptorProto.FromString((tmp_path / path).read_bytes())
        for file in (ours_copy := _copy(ours), theirs):
            _clear_json_names(file)
        expected, found = wire_shape.describe(theirs), wire_shape.describe(ours_copy)
        report += [f"{path}: {line}" for line in wire_shape.differences(expected, found)]
    assert not report, f"differences from {PACKAGE} {environment.version}:\n" + "\n".join(report)


def _copy(file: _pb.descriptor_pb2.FileDescriptorProto) -> _pb.descriptor_pb2.FileDescriptorProto:
    return _pb.descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString())


def _clear_json_names(file: _pb.descriptor_pb2.FileDescriptorProto) -> None:
    """Drop the JSON names: the official package does not store them, the names they follow from remain."""
    fields = list(file.extension)
    messages = list(file.message_type)
    while messages:
        message = messages.pop()
        fields += [*message.field, *message.extension]
        messages += message.nested_type
    for field in fields:
        field.ClearField("json_name")

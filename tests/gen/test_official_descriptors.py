"""Our definitions against the newest official package: has the service's wire format moved on?

`yandexcloud` is installed into an environment of its own and dumps its descriptors there. A difference fails
the test with one line per place; where the official side has more, it is a field to add here.
YAGRPC_OFFICIAL_VENV names a folder to keep that environment in between runs. The only reason to skip is a
package index that cannot be reached.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yagrpc import _pb

if TYPE_CHECKING:
    from tests.gen.conftest import WireShape

    Files = dict[str, _pb.descriptor_pb2.FileDescriptorProto]

pytestmark = pytest.mark.slow

PACKAGE = "yandexcloud"
VERSION = f"import importlib.metadata as m; print(m.version('{PACKAGE}'))"
UNREACHABLE = "after connection broken by"
"""What pip prints with each retry of a connection, whatever broke it."""


@pytest.fixture(scope="module")
def official_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that has the newest official package."""
    kept = os.environ.get("YAGRPC_OFFICIAL_VENV")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("official")
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    install = _run(python, "-m", "pip", "install", "--upgrade", "--retries", "1", PACKAGE)
    if install.returncode and UNREACHABLE in install.stderr + install.stdout:
        # An environment kept from an earlier run serves offline too.
        if _run(python, "-c", VERSION).returncode:
            pytest.skip(f"pip cannot reach a package index to install {PACKAGE}")
    elif install.returncode:
        pytest.fail(f"pip install {PACKAGE}: {install.stderr}")
    return python


def test_definitions_match_the_official_package(
    official_python: Path, our_files: Files, wire_shape: WireShape, tmp_path: Path
) -> None:
    dump = Path(__file__).with_name("dump_official.py")
    dumped = _run(official_python, str(dump), str(tmp_path), *our_files)
    assert dumped.returncode == 0, dumped.stderr
    report: list[str] = []
    for path, ours in our_files.items():
        if not (tmp_path / path).is_file():
            report.append(f"{path}: not in the official package")
            continue
        official = _pb.descriptor_pb2.FileDescriptorProto.FromString((tmp_path / path).read_bytes())
        for file in (ours_copy := _copy(ours), official):
            _clear_json_names(file)
        expected, found = wire_shape.describe(official), wire_shape.describe(ours_copy)
        report += [f"{path}: {line}" for line in wire_shape.differences(expected, found)]
    version = _run(official_python, "-c", VERSION).stdout.strip()
    assert not report, f"differences from {PACKAGE} {version}:\n" + "\n".join(report)


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # The tests' own PYTHONPATH must not leak in: the other environment has to see its own packages alone.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, env=environment, check=False, timeout=600
    )


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

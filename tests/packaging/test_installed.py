"""What is tested is what is installed: the package of the environment, not the folder that the tests lie in."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import distribution, files, metadata, version
from pathlib import Path

import pytest

import yagrpc

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    "YAGRPC_TEST_INSTALLED" not in os.environ, reason="YAGRPC_TEST_INSTALLED is not set: make test sets it"
)


def test_the_package_is_the_installed_one() -> None:
    assert "site-packages" in Path(yagrpc.__file__).parts
    assert version("yagrpc") == yagrpc.__version__


def test_the_repository_is_not_on_the_path() -> None:
    assert not {str(ROOT), str(ROOT / "generated"), ""} & set(sys.path)


def test_the_distribution_holds_two_packages_and_nothing_else() -> None:
    held = [path for path in files("yagrpc") or [] if path.suffix != ".pyc"]
    assert {path.parts[0] for path in held if not path.parts[0].startswith("..")} == {
        "yagrpc",
        "yagrpc_proto",
        f"yagrpc-{yagrpc.__version__}.dist-info",
    }
    names = {path.as_posix() for path in held}
    assert {"yagrpc/py.typed", "yagrpc_proto/py.typed"} <= names
    ours = {path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto").rglob("*.proto")}
    assert ours == {
        name.removeprefix("yagrpc/codegen/protos/") for name in names if name.startswith("yagrpc/codegen/protos/")
    }


def test_both_programs_are_installed() -> None:
    programs = {
        each.name: each.load() for each in distribution("yagrpc").entry_points if each.group == "console_scripts"
    }
    assert set(programs) == {"yagrpc", "protoc-gen-yagrpc"}
    assert all(map(callable, programs.values()))


def test_what_it_needs_is_little() -> None:
    needed = [name for name in metadata("yagrpc").get_all("Requires-Dist") or [] if "extra ==" not in name]
    assert sorted(re.split("[<>]", name)[0] for name in needed) == ["googleapis-common-protos", "grpcio", "protobuf"]

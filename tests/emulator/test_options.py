"""The options, declared once: what takes them, what type checkers and help see of them; and the public names."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import math
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import yagrpc.emulator
from tests.types.test_types import basedpyright, mypy
from yagrpc.emulator import Emulator, EmulatorOptions
from yagrpc.emulator.options import describe

FIELDS = [field.name for field in dataclasses.fields(EmulatorOptions)]

USED = """
from yagrpc.emulator import Emulator, EmulatorQuota

Emulator(duration=5, quota=EmulatorQuota(), seed=1)
Emulator(port="x")
Emulator(duraton=5)
Emulator(5)
reveal_type(Emulator().address)
"""


def test_an_emulator_takes_the_options_that_are_declared() -> None:
    assert inspect.signature(Emulator).parameters == inspect.signature(EmulatorOptions).parameters
    assert list(inspect.signature(Emulator.__init__).parameters) == ["self", *FIELDS]


def test_an_emulator_refuses_what_is_no_option() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'duraton'"):
        Emulator(duraton=5)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="the control service is served on loopback only"):
        Emulator(host="0.0.0.0", i_know=True, control=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("duration", [1]),
        ("duration", "1"),
        ("duration", None),
        ("completion_duration", "1"),
        ("quota", True),
        ("faults", [5]),
        ("faults", 5),
        ("replies", 5),
        ("recording", "file.json"),
        ("tls", "on"),
    ],
)
def test_an_option_of_another_type_is_named(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name} is {re.escape(repr(value))}: it takes "):
        Emulator(**{name: value})


@pytest.mark.parametrize("name", ["duration", "completion_duration"])
@pytest.mark.parametrize("value", [-1, math.nan, -math.inf, 10**400], ids=lambda value: str(value)[:9])
def test_a_duration_out_of_its_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{name} is .*: it takes a number of seconds, 0 or more$"):
        Emulator(**{name: value})


def test_every_option_is_described() -> None:
    assert list(describe(EmulatorOptions)) == FIELDS
    assert all(text.endswith(".") and "  " not in text for text in describe(EmulatorOptions).values())


def test_help_of_the_emulator_describes_every_option() -> None:
    assert list(describe(Emulator)) == FIELDS


def test_a_class_without_a_docstring_describes_nothing() -> None:
    class Undescribed:
        pass

    assert describe(Undescribed) == {}


@pytest.mark.parametrize("checker", [mypy, basedpyright], ids=lambda checker: checker.__name__)
def test_type_checkers_see_the_options(checker: Callable[[Path], Any], tmp_path: Path) -> None:
    file = tmp_path / "used.py"
    file.write_text(USED, "utf-8")
    found = checker(file)
    assert sorted({one.line for one in found if one.error}) == [5, 6, 7]
    assert re.search(r'"?(builtins\.)?str"?', next(one.text for one in found if not one.error))


def test_public_names_are_there_for_type_checkers_too() -> None:
    tree = ast.parse(Path(yagrpc.emulator.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(seen) == set(yagrpc.emulator.__all__) == set(dir(yagrpc.emulator))
    for name, module in seen.items():
        found = getattr(yagrpc.emulator, name)
        assert found is getattr(importlib.import_module(str(module)), name)
        assert found.__doc__ or name in ("Duration", "QuotaModel", "Replies", "Reply"), name
    with pytest.raises(AttributeError, match=r"'yagrpc\.emulator' has no attribute 'Nothing'"):
        yagrpc.emulator.Nothing  # noqa: B018


def test_the_declaration_loads_neither_grpc_nor_protobuf() -> None:
    code = "import sys, yagrpc.emulator.options; print({'grpc', 'google.protobuf'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert ran.stdout == "set()\n"

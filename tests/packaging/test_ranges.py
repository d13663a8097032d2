"""The versions that the package admits are those that `make matrix` runs: neither says more than the other."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def matrix(script: Callable[[str], Any]) -> Any:
    """`scripts/matrix.py`."""
    return script("matrix")


def needed(extra: str = "") -> dict[str, dict[str, str]]:
    """What the installed package needs: by name, the version after each operator."""
    found = {}
    for line in metadata("yagrpc").get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        if marker.strip() == (f"extra == '{extra}'" if extra else ""):
            name = re.match(r"[\w-]+", requirement)
            assert name is not None, line
            found[name[0]] = dict(re.findall(r"([<>=!~]+)\s*([\d.]+)", requirement))
    return found


def test_the_lowest_and_the_highest_versions_are_run(matrix: Any) -> None:
    assert needed() == {name: {">=": lowest, "<": matrix.ABOVE[name]} for name, lowest in matrix.LOWEST.items()}
    assert {name: bounds[">="] for name, bounds in needed("cli").items()} == matrix.LOWEST_CLI


def test_every_line_of_protobuf_has_a_row(matrix: Any) -> None:
    lines = [re.sub(r"\D*(\d+).*", r"\1", protobuf) for protobuf in matrix.PROTOBUF]
    first, above = int(matrix.LOWEST["protobuf"].split(".")[0]), int(matrix.ABOVE["protobuf"])
    assert sorted({int(line) for line in lines}) == list(range(first, above))
    # The tools' own protobuf is among them: descriptors that it wrote are what all the others read.
    assert "==6.31.*" in matrix.PROTOBUF


def test_every_python_has_rows_with_the_lowest_and_the_newest(matrix: Any) -> None:
    package = metadata("yagrpc")
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(package.get_all("Classifier") or []), re.MULTILINE)
    assert list(matrix.PYTHONS) == named
    assert package["Requires-Python"] == f">={named[0]}"
    rows = matrix.combinations([*named, "3.99"])
    assert len({row.folder for row in rows}) == len(rows)
    for python in [*named, "3.99"]:
        own = [row for row in rows if row.python == python]
        assert any(row.lowest for row in own)
        assert any((row.grpcio, row.protobuf) == ("<2", matrix.PROTOBUF[-1]) for row in own)
    assert [row.protobuf for row in rows if row.pure] == [matrix.PROTOBUF[-1]]
    cross = {(row.grpcio, row.protobuf) for row in rows if row.python == matrix.CROSS_PYTHON}
    assert cross == {(grpcio, protobuf) for grpcio in ("==1.68.1", "<2") for protobuf in matrix.PROTOBUF}


def test_the_lowest_versions_are_installed_exactly(matrix: Any) -> None:
    lowest = next(row for row in matrix.combinations(list(matrix.PYTHONS)) if row.lowest)
    assert set(lowest.requirements) == {
        f"{name}=={version}" for name, version in (matrix.LOWEST | matrix.LOWEST_CLI).items()
    }


def test_the_check_of_the_wheel_uses_the_lowest_versions_too(matrix: Any) -> None:
    text = (ROOT / "scripts/check-wheel.sh").read_text("utf-8")
    for name, version in matrix.LOWEST.items():
        assert re.search(rf"\b{name}=={re.escape(version)}(\.0)?\b", text), name


def test_what_the_matrix_runs_is_there(matrix: Any) -> None:
    assert set(matrix.TESTS) == {"tests/contract", "tests/core", "tests/isolation"}
    assert all((ROOT / folder).is_dir() for folder in matrix.TESTS)
    assert all((ROOT / file).is_file() for file in matrix.QUICK_TESTS)


def test_a_row_that_can_not_be_run_says_so(matrix: Any, tmp_path: Path) -> None:
    row = matrix.run(matrix.Combination("3.99", "<2", "==7.*"), None, "unused.whl", tmp_path)
    assert (str(row), row.good) == ("| 3.99 | <2 | ==7.* | not run: no such interpreter here | 0.0 |", True)


def test_the_readme_names_the_range(matrix: Any) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    oldest = ".".join(matrix.LOWEST["protobuf"].split(".")[:2])
    assert f"protobuf {oldest} to {int(matrix.ABOVE['protobuf']) - 1}" in readme

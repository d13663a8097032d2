"""`yagrpc generate`, as a user runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROTOS = Path(__file__).parents[2] / "proto"
SERVICE = "yandex/cloud/operation/operation_service.proto"


def generate(*arguments: str | Path, hide: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, where a package may be hidden from it."""
    hidden = f"import sys; sys.modules[{hide!r}] = None; " if hide else ""
    code = f"{hidden}from yagrpc.cli import main; main()"
    command = [sys.executable, "-W", "error", "-c", code, "generate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_naming_one_service_is_enough(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    done = generate("--proto", PROTOS, "--out", tmp_path, "--package", "stubs", SERVICE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"stubs is in {tmp_path}\n")
    tables = [path.name for path in tmp_path.rglob("*_methods.py")]
    assert tables == ["operation_service_methods.py"]
    assert (tmp_path / "stubs/google/rpc/status_pb2.pyi").exists()
    used = subprocess.run(
        [sys.executable, "-W", "error", "-c", "from stubs import methods; print(methods.OperationService.Get.path)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert used.stdout == "/yandex.cloud.operation.OperationService/Get\n", used.stderr


@pytest.mark.parametrize(
    ("proto", "package", "told"),
    [
        ('syntax = "proto3";\nmessage {', "stubs", "a.proto:2:9"),
        ('syntax = "proto3"; import "nowhere.proto";', "stubs", "nowhere.proto"),
        ('syntax = "proto3";', "not-a-name", "can't be imported"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, proto: str, package: str, told: str) -> None:
    pytest.importorskip("grpc_tools", reason="the extra codegen is not installed")
    (tmp_path / "a.proto").write_text(proto, "utf-8")
    done = generate("--proto", tmp_path, "--out", tmp_path / "out", "--package", package)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert told in done.stderr


def test_a_missing_extra_is_told_with_what_mends_it(tmp_path: Path) -> None:
    done = generate("--proto", PROTOS, "--out", tmp_path, "--package", "stubs", SERVICE, hide="grpc_tools")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'yagrpc[codegen]'" in done.stderr

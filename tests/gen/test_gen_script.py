"""`scripts/gen.sh --check`: passes on a clean tree, and fails on an edited, added, untracked or missing file."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone holds of the files that generation needs; the tools' environment is the checkout's own."""
    root = tmp_path_factory.mktemp("clone")
    held = ("proto", "generated", "scripts", "yagrpc", "examples/proofreading")
    for folder in held:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".gitignore", root)
    if not (ROOT / ".venv-gen/requirements.txt").exists():
        subprocess.run([str(ROOT / "scripts/gen.sh"), "--check"], check=True)
    (root / ".venv-gen").symlink_to(ROOT / ".venv-gen")
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    subprocess.run(["git", "add", *held], cwd=root, check=True)
    return root


def check(clone: Path) -> tuple[int, str]:
    """The exit code of the check, and what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    command = [str(clone / "scripts/gen.sh"), "--check"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_check_finds_every_difference(clone: Path) -> None:
    package = clone / "generated/yagrpc_proto"
    matches = ("generated/ matches proto/\n", "examples/proofreading/generated/ matches examples/proofreading/\n")
    assert check(clone) == (0, "".join(matches))
    # What an import writes is no difference.
    for folder in (package, package / "yandex"):
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__/methods.cpython-311.pyc").touch()
    assert check(clone) == (0, "".join(matches))

    edited = package / "yandex/cloud/operation/operation_pb2.py"
    original = edited.read_text("utf-8")
    edited.write_text(original + "\n", "utf-8")
    code, printed = check(clone)
    assert code == 1
    assert "operation_pb2.py differ" in printed
    edited.write_text(original, "utf-8")

    stale = package / "yandex/cloud/stale_pb2.py"
    stale.write_text("", "utf-8")
    code, printed = check(clone)
    assert code == 1
    assert "stale_pb2.py" in printed
    stale.unlink()

    edited.unlink()
    code, printed = check(clone)
    assert code == 1
    assert "operation_pb2.py" in printed
    edited.write_text(original, "utf-8")

    subprocess.run(["git", "rm", "--cached", "--quiet", edited], cwd=clone, check=True)
    code, printed = check(clone)
    assert code == 1
    assert "git does not track" in printed
    assert "operation_pb2.py" in printed

    subprocess.run(["git", "add", edited], cwd=clone, check=True)
    example = clone / "examples/proofreading/proofreading.proto"
    example.write_text(example.read_text("utf-8").replace("Corrects a text, and", "Takes a text, and"), "utf-8")
    code, printed = check(clone)
    assert code == 1
    assert printed.startswith(matches[0])
    assert "proofreading_methods.py differ" in printed
    assert "examples/proofreading/generated/ differs from what examples/proofreading/ gives" in printed


def test_other_arguments_are_a_usage_error() -> None:
    done = subprocess.run([str(ROOT / "scripts/gen.sh"), "--chek"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: scripts/gen.sh [--check]\n")

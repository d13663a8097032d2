"""The plugin as an entry point: other projects' runs, with and without it, with pytest-asyncio and with xdist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

USERS = """
import pytest

@pytest.mark.yagrpc(replies={"ping": "pong"})
@pytest.mark.parametrize("number", range(8))
def test_blocking(yagrpc_client, number):
    assert yagrpc_client.completion("ping").text == "pong"
    assert str(number) in yagrpc_client.completion_async(f"number {number}").result(timeout=60).text
"""

ASYNCIO = """
import pytest

pytestmark = pytest.mark.yagrpc(replies={"ping": "pong"})

@pytest.mark.asyncio
async def test_asyncio(yagrpc_async_client):
    assert (await yagrpc_async_client.completion("ping")).text == "pong"
    operation = await yagrpc_async_client.completion_async("ping")
    assert (await operation.result(timeout=60)).text == "pong"

@pytest.mark.asyncio
async def test_another_loop(yagrpc_async_client):
    assert (await yagrpc_async_client.completion("ping")).text == "pong"
"""

UNUSED = """
import sys

def test_nothing_is_imported():
    loaded = {name for name in sys.modules if name.split(".")[0] in ("yagrpc", "yagrpc_proto", "grpc", "google")}
    assert loaded <= {"yagrpc", "yagrpc._version", "yagrpc.pytest_plugin"}, loaded
    assert "yagrpc.pytest_plugin" in loaded

def test_until_a_fixture_is_asked_for(yagrpc_emulator):
    assert "grpc" in sys.modules
"""


def run(folder: Path, source: str, *arguments: str, asyncio: bool = True, setting: str = "") -> dict[str, int]:
    """The outcomes of a project of one file, counted."""
    (folder / "test_users.py").write_text(source, "utf-8")
    scope = "asyncio_default_fixture_loop_scope = function\n" if asyncio else ""
    forbidden = f"yagrpc_forbid_service = {setting}\n" if setting else ""
    (folder / "pytest.ini").write_text(f"[pytest]\nfilterwarnings = error\n{scope}{forbidden}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    command = [sys.executable, "-m", "pytest", "--strict-markers", "-p", "no:cacheprovider", *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300)
    found = re.findall(r"(\d+) (passed|failed|error)", ran.stdout.splitlines()[-1] if ran.stdout else "")
    assert found, ran.stdout + ran.stderr
    outcomes = {kind: int(count) for count, kind in found}
    print(ran.stdout)
    return outcomes


def test_the_fixtures_are_there_for_everybody(tmp_path: Path) -> None:
    assert run(tmp_path, USERS, "-p", "no:randomly") == {"passed": 8}


def test_tests_run_in_parallel(tmp_path: Path) -> None:
    assert run(tmp_path, USERS + ASYNCIO, "-n", "2") == {"passed": 10}


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_the_asyncio_fixture_works_in_both_modes(tmp_path: Path, mode: str) -> None:
    assert run(tmp_path, ASYNCIO, f"--asyncio-mode={mode}") == {"passed": 2}


def test_without_pytest_asyncio_the_blocking_fixtures_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = USERS + "\ndef test_asyncio(yagrpc_async_client):\n    pass\n"
    assert run(tmp_path, source, "-p", "no:asyncio", asyncio=False) == {"passed": 8, "error": 1}
    assert "yagrpc_async_client needs pytest-asyncio: pip install pytest-asyncio" in capsys.readouterr().out


def test_nothing_is_imported_until_a_fixture_is_asked_for(tmp_path: Path) -> None:
    # Others' plugins import what they like: hypothesis and randomly are left out of this run.
    assert run(tmp_path, UNUSED, "-p", "no:randomly", "-p", "no:hypothesispytest") == {"passed": 2}


# The real service


FORBIDDEN = """
import pytest
import yagrpc

EARLY = yagrpc.Client{early}

@pytest.mark.yagrpc(tls=True)
def test_with_a_fixture(yagrpc_emulator):
    with pytest.raises(yagrpc.ConfigError, match="calls to llm.api.cloud.yandex.net:443 are forbidden here"):
        yagrpc.Client()

def test_without_a_fixture():
    yagrpc.Client().close()
"""


@pytest.mark.parametrize(
    ("arguments", "setting", "failed"),
    [
        ([], "", ""),
        (["--yagrpc-forbid-service=fixtures"], "everywhere", ""),
        ([], "everywhere", "test_without_a_fixture"),
        (["--yagrpc-forbid-service=everywhere", "-n", "1"], "", "test_without_a_fixture"),
        (["--yagrpc-forbid-service=nowhere"], "everywhere", "test_with_a_fixture"),
        ([], "nowhere", "test_with_a_fixture"),
    ],
)
def test_the_real_service_is_forbidden_where_it_is_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    setting: str,
    failed: str,
) -> None:
    """With credentials exported, as on a developer's machine; nothing is sent where it is allowed."""
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    monkeypatch.setenv("YC_FOLDER_ID", "b1g")
    expected = {"passed": 1, "failed": 1} if failed else {"passed": 2}
    assert run(tmp_path, FORBIDDEN.format(early=""), *arguments, "-p", "no:randomly", setting=setting) == expected
    assert f"FAILED test_users.py::{failed}" in capsys.readouterr().out or not failed


def test_the_real_service_is_forbidden_while_tests_are_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("YC_API_KEY", "AQVNx")
    assert run(tmp_path, FORBIDDEN.format(early="()"), setting="everywhere") == {"error": 1}
    assert "are forbidden here (YAGRPC_FORBID_SERVICE=1" in capsys.readouterr().out


def test_a_setting_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nyagrpc_forbid_service = sometimes\n")
    ran = subprocess.run([sys.executable, "-m", "pytest"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 4
    assert "yagrpc_forbid_service is 'sometimes': it takes everywhere, fixtures, nowhere" in ran.stderr

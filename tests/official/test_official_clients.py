"""The official clients work against the emulator, unchanged but for their endpoint and TLS arguments.

Each is installed into an environment of its own and put to use there by a script; what the script saw is checked
here. The only reason to skip is a package index that cannot be reached.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from yagrpc.emulator import Emulator, Failure, paths

if TYPE_CHECKING:
    from tests.conftest import OfficialEnvironment

    Official = Callable[[str], OfficialEnvironment]

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent
AUTHORIZED = frozenset({"Api-Key secret"})


def put_to_use(environment: OfficialEnvironment, script: str, *arguments: str) -> dict[str, Any]:
    """What a script saw."""
    ran = environment.run(str(FOLDER / script), *arguments)
    assert ran.returncode == 0, ran.stderr
    said: dict[str, Any] = json.loads(ran.stdout)
    return said


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "tls"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_ai_studio_sdk_works(official: Official, kind: str, tls: bool) -> None:
    environment = official("yandex-ai-studio-sdk")
    with Emulator(tls=tls, duration=0.2, auth=AUTHORIZED) as emulator:
        roots = [emulator.ca_file] if emulator.ca_file else []
        said = put_to_use(environment, "use_aistudio.py", kind, emulator.address, *roots)
        calls = emulator.calls
    assert 'You wrote: "ping"' in said["run"]["text"]
    assert said["run"]["status"] == "FINAL"
    assert said["run"]["tokens"] > 15
    texts = said["run_stream"]["texts"]
    assert len(texts) > 3
    assert all(after.startswith(before) for before, after in itertools.pairwise(texts))
    assert said["run_stream"]["status"] == "FINAL"
    assert said["deferred"]["id"].startswith("d7q")
    assert said["deferred"]["running"]
    assert said["deferred"]["succeeded"]
    assert 'You wrote: "deferred"' in said["deferred"]["text"]
    assert said["attached"] == said["deferred"]["text"]
    assert calls[paths.OPERATION_GET] > 3, "it has polled"
    assert len(said["tokenize"]) == 15
    assert said["tokenize"][0] == "<s>"
    called = {"name": "weather", "arguments": {"city": "What is the weather?", "days": 0}, "status": "TOOL_CALLS"}
    assert said["tool_call"] == called
    assert "sunny" in said["tool_result"]
    assert said["schema"] == {"city": "a trip", "days": 0}
    assert said["json"] == {"text": "some JSON", "messages": 1}
    assert said["embedding"] == 256
    assert said["classes"]["bad"] > said["classes"]["good"]
    assert said["image"]["id"].startswith("fbv")
    assert said["image"]["start"] == "ffd8ff"
    assert "temperature must be from 0 to 1" in said["refused"]


def test_the_general_sdk_works(official: Official) -> None:
    environment = official("yandexcloud")
    replies = {"fail": Failure(grpc.StatusCode.INTERNAL, "broken")}
    # Nothing but tokens that were issued here is accepted.
    with Emulator(tls=True, duration=0.2, auth=AUTHORIZED, replies=replies) as emulator:
        assert emulator.ca_file is not None
        said = put_to_use(environment, "use_yandexcloud.py", emulator.address, emulator.ca_file)
        calls = emulator.calls
    assert said["id"].startswith("d7q")
    assert not said["done_at_once"]
    assert said["created_by"]
    assert 'You wrote: "ping"' in said["text"]
    assert said["sync"] == [said["text"]]
    assert said["image"] == "ffd8ff"
    assert "Message: broken." in said["failed"]
    assert calls[paths.IAM_CREATE] > 0
    assert calls[paths.ENDPOINT_LIST] == 1
    assert calls[paths.COMPLETION_ASYNC] == 2

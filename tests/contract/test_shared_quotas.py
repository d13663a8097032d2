"""Quotas that several clients share, for both clients, in both kinds of store, against a server that enforces them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import yagrpc
from tests.stores import RedisServer
from yagrpc.emulator import Emulator, EmulatorQuota, paths

EMULATED = {"endpoint": "127.0.0.1:1", "plaintext": True}


def test_two_clients_send_no_more_than_one_may(subject: Any, share: str) -> None:
    """Each for itself would send ten at once, and half of them would be refused."""
    with Emulator(quota=EmulatorQuota(submit_per_second=5)) as emulator:
        quota = yagrpc.Quota(submit_per_second=5)
        clients = [subject.client(emulator, quota=quota, share=share) for _ in range(2)]
        calls = [lambda client=client: client.completion_async("hello") for client in clients for _ in range(6)]
        accepted = subject.together(calls)
        assert all(hasattr(each, "id") for each in accepted), accepted
        assert emulator.calls[paths.COMPLETION_ASYNC] == 12


def test_completions_of_two_clients_run_under_one_quota(subject: Any, share: str) -> None:
    with Emulator(quota=EmulatorQuota(concurrent_completions=2), completion_duration=0.05) as emulator:
        quota = yagrpc.Quota(concurrent_completions=2)
        clients = [subject.client(emulator, quota=quota, share=share) for _ in range(2)]
        calls = [lambda client=client: client.completion("hello") for client in clients for _ in range(6)]
        assert all(isinstance(each, yagrpc.Completion) for each in subject.together(calls))
        assert emulator.calls[paths.COMPLETION] == 12


def test_polls_of_two_clients_share_their_quota(subject: Any, share: str) -> None:
    with Emulator(quota=EmulatorQuota(get_per_second=10), duration=0.01) as emulator:
        # Less than the service allows, for requests that a busy machine delays; twice as much would be refused.
        quota = yagrpc.Quota(get_per_second=8)
        clients = [subject.client(emulator, quota=quota, share=share) for _ in range(2)]
        operations = [subject(client.completion_async("hello")) for client in clients for _ in range(8)]
        texts = subject.together([lambda operation=operation: operation.result() for operation in operations])
        assert all(isinstance(each, yagrpc.Completion) for each in texts), texts
        assert emulator.calls[paths.OPERATION_GET] >= 16
        assert not emulator.refusals


def test_an_hour_that_is_used_up_lets_no_request_leave_after_a_restart(subject: Any, share: str) -> None:
    quota = yagrpc.Quota(submit_per_hour=2)
    with Emulator(quota=EmulatorQuota(submit_per_hour=2)) as emulator:
        before = subject.client(emulator, quota=quota, share=share)
        for _ in range(2):
            subject(before.completion_async("before the restart"))
        subject(before.close())
        after = subject.client(emulator, quota=quota, share=share)
        with pytest.raises(yagrpc.QuotaWaitError) as caught:
            subject(after.completion_async("after it", timeout=5))
        assert str(caught.value).startswith("no slot under quota.submit_per_hour in 5 s, there is one in 3.6")
        assert "; nothing was sent" in str(caught.value)
        assert caught.value.seconds is not None
        assert 3500 < caught.value.seconds < 3700
        assert emulator.calls[paths.COMPLETION_ASYNC] == 2


def test_a_refusal_of_one_client_is_learned_by_the_other(subject: Any, share: str) -> None:
    """Somebody else has used the hour up."""
    with Emulator(quota=EmulatorQuota(submit_per_hour=1)) as emulator:
        subject(subject.client(emulator).completion_async("somebody else"))
        refused, other = (subject.client(emulator, share=share) for _ in range(2))
        with pytest.raises(yagrpc.QuotaWaitError, match="it was sent, and refused: .*PerHour"):
            subject(refused.completion_async("refused", timeout=0.5))
        subject(refused.close())  # what it has learned is said by now
        sent = emulator.calls[paths.COMPLETION_ASYNC]
        with pytest.raises(yagrpc.QuotaWaitError, match="nothing was sent: .*PerHour.* allowed 1 req") as caught:
            subject(other.completion_async("not sent", timeout=0.1))
        assert caught.value.quota == "submit_per_hour"
        assert emulator.calls[paths.COMPLETION_ASYNC] == sent


def test_the_limits_of_a_client_are_those_of_all(subject: Any, emulator: Emulator, share: str) -> None:
    one, two = (subject.client(emulator, share=share) for _ in range(2))
    subject(one.completion_async("hello"))
    subject(two.completion_async("hello"))
    assert two.limits.submit_per_hour == yagrpc.Limit(5000, 2, 4998, 0)
    assert one.limits.images_per_day == yagrpc.Limit(5000, 0, 5000, 0)
    by = {row.participant: row.slots for row in yagrpc.quota_use("folder", share=share) if "hour" in row.quota}
    assert list(by.values()) == [2]
    assert next(iter(by)).endswith(f":{os.getpid()}")


def test_the_smaller_of_two_quotas_counts_and_is_said_once(
    subject: Any, emulator: Emulator, share: str, caplog: pytest.LogCaptureFixture
) -> None:
    subject.client(emulator, share=share, quota=yagrpc.Quota(submit_per_second=3))
    larger = subject.client(emulator, share=share)
    with caplog.at_level(logging.WARNING, "yagrpc.quota"):
        for _ in range(4):
            subject(larger.completion_async("hello"))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert said[0].endswith("has quota.submit_per_second = 3, this one 10: the smaller counts")


def test_another_folder_is_counted_apart(subject: Any, share: str) -> None:
    if not share.startswith("redis"):
        pytest.skip("a file is one folder's")
    with Emulator() as emulator:
        quota = yagrpc.Quota(submit_per_hour=1)
        for folder in ("one", "two"):
            subject(subject.client(emulator, share=share, quota=quota, folder_id=folder).completion_async("hello"))


def test_what_another_program_holds_is_free_when_it_ends(subject: Any, emulator: Emulator, share: str) -> None:
    quota = yagrpc.Quota(concurrent_completions=1)
    client = subject.client(emulator, share=share, quota=quota)
    with yagrpc.Limits("folder", share=share, quota=quota) as limits:
        slot = limits.acquire("completion")
        slot.__enter__()
        with pytest.raises(yagrpc.QuotaWaitError, match="concurrent_completions in 0.2 s, there is one when a running"):
            subject(client.completion("hello", timeout=0.2))
    assert subject(client.completion("hello", timeout=20)).text


# A store that can't be reached


class Broken:
    """A file whose lock a broken process holds."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute("BEGIN IMMEDIATE")

    def mend(self) -> None:
        """The process has ended."""
        self._connection.close()


@contextlib.contextmanager
def back_again() -> Iterator[None]:
    """Wait at the end until the limiter is said to be there again."""
    back = threading.Event()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is there again" in record.getMessage():
                back.set()

    handler = Handler()
    logging.getLogger("yagrpc.quota").addHandler(handler)
    try:
        yield
        assert back.wait(30)
    finally:
        logging.getLogger("yagrpc.quota").removeHandler(handler)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yagrpc.limiter.sqlite.BUSY", 0.02)
    monkeypatch.setattr("yagrpc.limiter.agent.AGAIN", 0.02)


@pytest.mark.usefixtures("_impatient")
def test_a_store_that_fails_leaves_each_process_its_part(
    subject: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "limits"
    with Emulator() as emulator:
        quota = yagrpc.Quota(submit_per_hour=5)
        client, _ = (subject.client(emulator, share=path, quota=quota) for _ in range(2))
        subject(client.completion_async("hello"))
        broken = Broken(path)
        with caplog.at_level(logging.WARNING, "yagrpc.quota"):
            subject(client.completion_async("hello"))
            subject(client.completion_async("hello"))
            with pytest.raises(yagrpc.QuotaWaitError, match="no slot under quota.submit_per_hour"):
                subject(client.completion_async("a third of its part of 2.5", timeout=0.05))
            lost = [record.getMessage() for record in caplog.records if "can't be reached" in record.getMessage()]
            assert len(lost) == 1
            assert lost[0].endswith(
                "this process counts for itself and uses one of 2 equal parts of each quota until it is there again"
            )
        with back_again():
            broken.mend()
        subject(client.completion_async("hello", timeout=20))


@pytest.mark.usefixtures("_impatient")
def test_a_store_that_fails_fails_the_calls_where_that_is_wanted(subject: Any, tmp_path: Path) -> None:
    path = tmp_path / "limits"
    with Emulator() as emulator:
        client = subject.client(emulator, share=path, on_limiter_failure="error")
        subject(client.completion_async("hello"))
        broken = Broken(path)
        for _ in range(2):
            with pytest.raises(yagrpc.LimiterError, match="the shared limiter '.*limits' can't be reached") as caught:
                subject(client.completion_async("hello", timeout=5))
        assert caught.value.method == paths.COMPLETION_ASYNC
        assert caught.value.attempts == 0
        assert emulator.calls[paths.COMPLETION_ASYNC] == 1
        broken.mend()


def test_a_redis_that_goes_away_and_comes_back(
    subject: Any, own_redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yagrpc.limiter.agent.AGAIN", 0.02)
    with Emulator(duration=0.0) as emulator:
        client = subject.client(emulator, share=own_redis_server.url)
        subject(client.completion_async("hello"))
        own_redis_server.stop()
        operation = subject(client.completion_async("counted here", timeout=20))
        assert subject(operation.result()).text
        with back_again():
            own_redis_server.start()
        subject(client.completion_async("counted there", timeout=20))
        assert client.limits.submit_per_hour.used == 1, "what Redis had counted is gone with it"


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"share": 5}, "share is a int: it takes 'auto', the path of a file"),
        ({"share": ""}, "share is empty: it takes"),
        ({"share": "http://host"}, "share has a scheme that is not known"),
        ({"share": "redis://host:port"}, "is no URL of Redis"),
        ({"share": "/nowhere/at/all/limits"}, "can't be used: No such file or directory"),
        ({"share": "/dev/null"}, "it is no file"),
        ({"on_limiter_failure": numpy.array(["local", "error"])}, "on_limiter_failure is array"),
        ({"on_limiter_failure": "ignore"}, "on_limiter_failure is 'ignore': give 'local' or 'error'"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_when_the_client_is_made(
    subject: Any, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(yagrpc.ConfigError, match=said):
        subject.client(**EMULATED, **settings)


def test_a_credential_in_place_of_a_share_is_no_file(
    subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("YAGRPC_SHARE", "AQVN-a-key-that-was-pasted")
    with pytest.raises(yagrpc.ConfigError, match="share has the form of a credential: it takes 'auto'") as caught:
        subject.client(**EMULATED)
    assert "pasted" not in str(caught.value)
    with pytest.raises(yagrpc.ConfigError, match="share has the form of a credential"):
        yagrpc.quota_use("f")
    assert not list(tmp_path.iterdir())


def test_a_share_without_a_folder_is_refused(subject: Any, tmp_path: Path) -> None:
    with pytest.raises(yagrpc.ConfigError, match="share needs the folder whose quotas are shared"):
        subject.client(**EMULATED, folder_id=None, share=tmp_path / "limits")


def test_the_environment_may_say_where_quotas_are_shared(
    subject: Any, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YAGRPC_SHARE", "auto")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    subject(subject.client(emulator).completion_async("hello"))
    (file,) = (tmp_path / "yagrpc").glob("*.sqlite3")
    assert file.name.startswith("limits-")
    assert "folder" not in file.name
    assert (tmp_path / "yagrpc").stat().st_mode & 0o777 == 0o700


def test_no_place_for_the_file_is_said(subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "taken"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "taken"))
    with pytest.raises(yagrpc.ConfigError, match="share='auto' finds no folder"):
        subject.client(**EMULATED, share="auto")


def test_without_quotas_nothing_is_shared(subject: Any, emulator: Emulator, tmp_path: Path) -> None:
    client = subject.client(emulator, share=tmp_path / "limits", quota=None)
    subject(client.completion_async("hello"))
    assert not (tmp_path / "limits").exists()


def test_no_operation_of_a_closed_client_is_waited_for_in_another_event_loop(
    emulator: Emulator, tmp_path: Path
) -> None:
    settings = {"endpoint": emulator.address, "plaintext": True, "share": tmp_path / "l"}
    client = yagrpc.AsyncClient(folder_id="f", credentials=yagrpc.NoCredentials(), **settings)  # type: ignore[arg-type]

    async def submit() -> Any:
        async with client:
            return await client.completion_async("hello")

    async def wait(operation: Any) -> None:
        with pytest.raises(yagrpc.ClientClosedError):
            await operation.result(timeout=1)

    asyncio.run(wait(asyncio.run(submit())))


def test_the_thread_ends_with_a_client_that_nobody_closes(emulator: Emulator, tmp_path: Path) -> None:
    client = yagrpc.Client(
        endpoint=emulator.address, plaintext=True, folder_id="f", credentials="AQVNx", share=tmp_path / "l"
    )
    client.completion_async("hello")
    (thread,) = [each for each in threading.enumerate() if each.name == "yagrpc-limiter"]
    with pytest.warns(ResourceWarning):
        del client
    thread.join(20)
    assert not thread.is_alive()

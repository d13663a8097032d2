"""`Limits`: slots for calls that others send, with blocking and asyncio code."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click.testing
import pytest

import yagrpc
from yagrpc.cli.program import cli
from yagrpc.limiter.limits import KINDS

if TYPE_CHECKING:
    from tests.stores import RedisServer

FEW = yagrpc.Quota(concurrent_completions=1, embeddings_per_second=0.01)


@pytest.fixture
def limits(share: str) -> Iterator[yagrpc.Limits]:
    """The quotas of a folder."""
    with yagrpc.Limits("folder", quota=FEW, share=share) as found:
        yield found


def test_every_quota_has_a_kind_of_call() -> None:
    assert {name for names in KINDS.values() for name in names} == set(yagrpc.Quota._fields)


def test_a_slot_is_taken_and_given_back(limits: yagrpc.Limits) -> None:
    with limits.acquire("completion"):
        assert limits.used.concurrent_completions == yagrpc.Limit(1, 1, 0, 0)
        with (
            pytest.raises(yagrpc.QuotaWaitError, match="concurrent_completions in 0 s"),
            limits.acquire("completion", 0),
        ):
            pass
    with limits.acquire("completion", timeout=20):
        pass


def test_a_slot_is_taken_and_given_back_in_asyncio(limits: yagrpc.Limits) -> None:
    async def work() -> list[str]:
        order = []

        async def one(name: str) -> None:
            async with limits.acquire("completion", timeout=30):
                order.append(f"{name} begins")
                await asyncio.sleep(0)
                order.append(f"{name} ends")

        await asyncio.gather(one("first"), one("second"))
        with pytest.raises(yagrpc.QuotaWaitError):
            async with limits.acquire("completion"), limits.acquire("completion", timeout=0.01):
                pass
        return order

    assert asyncio.run(work()) == ["first begins", "first ends", "second begins", "second ends"]


def test_a_rate_says_when_there_is_a_slot(limits: yagrpc.Limits) -> None:
    with limits.acquire("embeddings"):
        pass
    with pytest.raises(yagrpc.QuotaWaitError) as caught, limits.acquire("embeddings", timeout=1):
        pass
    assert caught.value.quota == "embeddings_per_second"
    assert caught.value.seconds == pytest.approx(102, abs=2)


def test_the_slot_of_a_block_that_fails_is_given_back(limits: yagrpc.Limits) -> None:
    with pytest.raises(ZeroDivisionError), limits.acquire("completion"):
        _ = 1 / 0
    with limits.acquire("completion", timeout=20):
        pass


def test_a_wait_that_is_cancelled_leaves_the_queue(limits: yagrpc.Limits) -> None:
    async def work() -> None:
        async with limits.acquire("completion"):
            waiting = asyncio.create_task(limits.acquire("completion").__aenter__())
            await asyncio.sleep(0)  # it waits from its first step on
            assert limits.used.concurrent_completions.waiting == 1
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert limits.used.concurrent_completions.waiting == 0

    asyncio.run(work())


@pytest.mark.parametrize("steps", range(6))
def test_a_wait_that_is_cancelled_as_it_is_woken_is_cancelled(limits: yagrpc.Limits, steps: int) -> None:
    """Whatever step of the event loop comes between; `asyncio.wait_for` of Python 3.10 and 3.11 would go on."""

    async def work() -> bool:
        waiting = asyncio.create_task(limits.acquire("completion", timeout=30).__aenter__())
        await asyncio.sleep(0)  # it waits from its first step on
        limits._gates["completion"]._queue[0].notify()
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        return waiting.cancelled()

    with limits.acquire("completion"):
        assert asyncio.run(work())


def test_limits_that_are_dropped_end_their_thread(tmp_path: Path) -> None:
    limits: Any = yagrpc.Limits("f", share=tmp_path / "l")
    with limits.acquire("completion"):
        pass
    thread = limits._limiter._thread
    del limits
    gc.collect()
    thread.join(20)
    assert not thread.is_alive()


def test_closing_ends_a_wait(limits: yagrpc.Limits) -> None:
    failed: list[BaseException] = []

    def wait() -> None:
        try:
            limits.acquire("completion").__enter__()
        except yagrpc.ClientClosedError as error:
            failed.append(error)

    with limits.acquire("completion"):
        thread = threading.Thread(target=wait)
        thread.start()
        while not limits.used.concurrent_completions.waiting:
            pass
        limits.close()
        thread.join(30)
    assert len(failed) == 1


def test_a_slot_is_acquired_once(limits: yagrpc.Limits) -> None:
    slot = limits.acquire("completion")
    with slot, pytest.raises(RuntimeError, match=r"call acquire\(\) for each call"):
        slot.__enter__()


def test_what_has_no_quota_is_not_limited(tmp_path: Path) -> None:
    with (
        yagrpc.Limits("f", quota=yagrpc.Quota(embeddings_per_second=None), share=tmp_path / "l") as limits,
        limits.acquire("embeddings", timeout=0),
    ):
        pass


def test_a_timeout_may_be_as_long_as_it_likes(tmp_path: Path) -> None:
    with yagrpc.Limits("f", share=tmp_path / "l") as limits, limits.acquire("embeddings", timeout=10**400):
        pass


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("submits",), "kind is 'submits': it is one of completion, submit, tokenize"),
        (("submit", "soon"), "timeout is 'soon': it takes seconds"),
        (("submit", -1), "timeout is -1: it takes seconds"),
        ((["submit"],), "kind is .*: it is one of completion"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, arguments: tuple[Any, ...], said: str) -> None:
    with yagrpc.Limits("f", share=tmp_path / "l") as limits, pytest.raises(yagrpc.RequestError, match=said):
        limits.acquire(*arguments)


def test_settings_that_cannot_work_are_refused(tmp_path: Path) -> None:
    wrong: Any = None
    with pytest.raises(yagrpc.ConfigError, match="Limits needs the quotas"):
        yagrpc.Limits("f", share=tmp_path / "l", quota=wrong)
    with pytest.raises(yagrpc.ConfigError, match="share needs the folder"):
        yagrpc.Limits(share=tmp_path / "l")


def test_by_default_it_is_a_file_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("YC_FOLDER_ID", "b1g")
    with yagrpc.Limits() as limits, limits.acquire("submit"):
        assert [row.slots for row in limits.participants() if row.quota == "submit_per_hour"] == [1]
    assert {row.quota: row.slots for row in yagrpc.quota_use()}["submit_per_hour"] == 1


# The command


def run(*arguments: str) -> click.testing.Result:
    """Run `yagrpc limits`."""
    return click.testing.CliRunner().invoke(cli, ["limits", *arguments])


def test_the_command_shows_what_is_used_and_by_whom(share: str, limits: yagrpc.Limits) -> None:
    with limits.acquire("completion"):
        shown = run("--folder-id", "folder", "--share", share)
        assert shown.exit_code == 0
        lines = shown.output.splitlines()
        assert lines[0].split() == ["quota", "limit", "used", "left", "by"]
        (line,) = [line for line in lines if line.startswith("concurrent_completions")]
        name, limit, used, left, by, count = line.split()
        assert (name, limit, used, left, count) == ("concurrent_completions", "1", "1", "0", "1")
        plain = json.loads(run("--folder-id", "folder", "--share", share, "--json").output)["quotas"]
        found = {each["quota"]: each for each in plain}
        assert found["concurrent_completions"] == {
            "quota": "concurrent_completions", "limit": 1, "used": 1, "by": {by: 1}, "left": 0,
        }  # fmt: skip


def test_the_command_shows_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yagrpc.cli.commands.limits._EVERY", 0.0)
    share = str(tmp_path / "limits")
    shown = run("--folder-id", "f", "--share", share, "--watch", "--times", "3", "--json")
    assert shown.output.splitlines() == ['{"quotas": []}'] * 3
    assert run("--folder-id", "f", "--share", share).output == "no process shares quotas there\n"


def test_the_command_takes_no_part(share: str, limits: yagrpc.Limits) -> None:
    for _ in range(2):
        run("--folder-id", "folder", "--share", share)
    with limits.acquire("completion", timeout=20):
        assert {row.participant for row in limits.participants() if row.slots} != set()
    assert {row.limit for row in limits.participants() if row.quota == "concurrent_completions"} == {1}


def test_a_place_that_cannot_be_reached_is_one_line(own_redis_server: RedisServer) -> None:
    url = own_redis_server.url.replace("redis://", "redis://user:hunter2@")
    own_redis_server.stop()
    ran = run("--folder-id", "f", "--share", url)
    assert ran.exit_code == 1
    assert len(ran.stderr.splitlines()) == 1
    assert "can't be reached" in ran.stderr
    assert "hunter2" not in ran.stderr
    own_redis_server.start()

"""The plugin's fixtures, used as its users use them."""

from __future__ import annotations

import asyncio
import os

import grpc
import httpx
import pytest

import yagrpc
from yagrpc.emulator import Emulator, EmulatorQuota, Failure, Fault, paths

pytestmark = pytest.mark.yagrpc(replies={"ping": "pong", "fail": Failure(grpc.StatusCode.INTERNAL, "broken")})


def test_a_client_of_an_emulator(yagrpc_client: yagrpc.Client, yagrpc_emulator: Emulator) -> None:
    assert yagrpc_client.completion("ping").text == "pong"
    assert yagrpc_client.completion_async("ping").result(timeout=60).text == "pong"
    assert yagrpc_emulator.calls[paths.COMPLETION] == 1


async def test_an_asyncio_client(yagrpc_async_client: yagrpc.AsyncClient) -> None:
    operation = await yagrpc_async_client.completion_async("ping")
    assert (await operation).text == "pong"


async def test_both_share_an_emulator(yagrpc_async_client: yagrpc.AsyncClient, yagrpc_client: yagrpc.Client) -> None:
    operation = await asyncio.to_thread(yagrpc_client.completion_async, "ping")
    assert (await yagrpc_async_client.operation(operation.id)).text == "pong"


@pytest.mark.yagrpc(replies={"ping": "nearer"}, duration=5)
def test_the_nearest_marker_wins(yagrpc_client: yagrpc.Client, yagrpc_emulator: Emulator) -> None:
    operation = yagrpc_client.completion_async("ping")
    assert not operation.done()
    yagrpc_emulator.advance(5)
    assert operation.result(timeout=60).text == "nearer"


@pytest.mark.yagrpc(quota=EmulatorQuota(submit_per_hour=1), duration=5)
def test_quotas_are_the_emulators(yagrpc_client: yagrpc.Client) -> None:
    yagrpc_client.completion_async("ping")
    with pytest.raises(yagrpc.ResourceExhaustedError):
        yagrpc_client.completion_async("ping")


@pytest.mark.yagrpc(faults=[Fault(Failure(grpc.StatusCode.UNAVAILABLE, "away"), calls=1)])
def test_faults_apply_to_its_calls(yagrpc_client: yagrpc.Client, yagrpc_emulator: Emulator) -> None:
    assert len(yagrpc_client.tokenize("ping")) == 1, "a read is sent again"
    assert yagrpc_emulator.calls == {paths.TOKENIZE: 2}


def test_code_under_test_may_make_its_own_client(yagrpc_emulator: Emulator) -> None:
    with yagrpc.Client() as client, pytest.raises(yagrpc.AmbiguousSubmitError, match="broken"):
        client.completion("fail")
    assert yagrpc_emulator.calls[paths.COMPLETION] == 1


def test_rest_is_served_where_its_address_is_wanted(yagrpc_rest_address: str, yagrpc_emulator: Emulator) -> None:
    body = {"modelUri": "gpt://b1g/yandexgpt", "messages": [{"role": "user", "text": "ping"}]}
    url = f"http://{yagrpc_rest_address}/foundationModels/v1/completion"
    answer = httpx.post(url, json=body, trust_env=False, timeout=60).json()
    assert answer["result"]["alternatives"][0]["message"]["text"] == "pong"
    assert yagrpc_emulator.calls[paths.COMPLETION] == 1


def test_rest_is_not_served_elsewhere(yagrpc_emulator: Emulator) -> None:
    assert yagrpc_emulator.rest_address == ""


@pytest.mark.yagrpc(tls=True)
async def test_clients_trust_an_emulator_with_tls(
    yagrpc_emulator: Emulator, yagrpc_client: yagrpc.Client, yagrpc_async_client: yagrpc.AsyncClient
) -> None:
    assert "YAGRPC_EMULATOR_HOST" not in os.environ
    assert (await asyncio.to_thread(yagrpc_client.completion, "ping")).text == "pong"
    assert (await yagrpc_async_client.completion("ping")).text == "pong"


@pytest.mark.parametrize("scheme", ["Api-Key", "Bearer"])
def test_a_credential_that_is_accepted_is_sent(request: pytest.FixtureRequest, scheme: str) -> None:
    request.node.add_marker(pytest.mark.yagrpc(auth={f"{scheme} secret"}, folder="b1gmine"))
    client: yagrpc.Client = request.getfixturevalue("yagrpc_client")
    emulator: Emulator = request.getfixturevalue("yagrpc_emulator")
    assert client.completion("ping").text == "pong"
    assert emulator.requests[0].metadata["authorization"] == f"{scheme} secret"


def test_an_option_of_another_type_is_named(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(pytest.mark.yagrpc(duration="x"))
    with pytest.raises(TypeError, match="^duration is 'x': it takes a number of seconds, or a function"):
        request.getfixturevalue("yagrpc_emulator")


@pytest.mark.parametrize("marker", [pytest.mark.yagrpc("x"), pytest.mark.yagrpc(repies={})])
def test_a_wrong_marker_is_a_usage_error(request: pytest.FixtureRequest, marker: pytest.MarkDecorator) -> None:
    request.node.add_marker(marker)
    with pytest.raises(
        pytest.UsageError, match=r"@pytest\.mark\.yagrpc (takes options by name|has no option 'repies')"
    ):
        request.getfixturevalue("yagrpc_emulator")

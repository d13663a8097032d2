"""Settings: what the arguments say, then the environment, and what cannot work."""

from __future__ import annotations

import inspect
import ipaddress
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import yagrpc
from yagrpc import config, hiding, methods
from yagrpc._core.call.policy import policy_of
from yagrpc._core.polling.scheduler import Scheduler
from yagrpc._core.quota.gates import Gates
from yagrpc._grpc.runtime import RUNTIME
from yagrpc.config import (
    Endpoints,
    Polling,
    Quota,
    check_settings,
    is_loopback,
    resolve_endpoints,
    resolve_folder,
)
from yagrpc.errors import ConfigError
from yagrpc.quotas import Limit

SERVICE = Endpoints(
    "llm.api.cloud.yandex.net:443",
    "operation.api.cloud.yandex.net:443",
    "iam.api.cloud.yandex.net:443",
    "api.cloud.yandex.net:443",
    plaintext=False,
)

GOOD = [
    "llm.api.cloud.yandex.net:443",
    "localhost:8080",
    "10.0.0.1:1",
    "host:65535",
    "a-b_c.example:443",
    "[::1]:443",
    "[2a02:6b8::1]:443",
    "[fe80::1%eth0]:443",
    "[::ffff:127.0.0.1]:443",
    "xn--80ak6aa92e.com:443",
]
BAD = [
    "",
    "host",
    ":443",
    "host:",
    "host:0",
    "host:65536",
    "host:-1",
    "host:+443",
    "host:4_3",
    "host: 443",
    "host:443 ",
    "host:443\n",
    " host:443",
    "ho st:443",
    "host\n:443",
    "http://host:443",
    "grpcs://host:443",
    "dns:///host:443",
    "unix:/run/socket",
    "host:443/path",
    "user@host:443",
    "host:٤٤٣",
    "host:" + "9" * 5000,
    "::1:443",
    "[::1]",
    "[::1",
    "[::1:443",
    "::1]:443",
    "[]:443",
    "[[::1]]:443",
    "[::1]x:443",
    "[localhost]:443",
    "]localhost[:443",
    "a:b:443",
    "хост:443",
    "\ud800:443",
    "\x00:443",
]
LOOPBACK = [
    "localhost:1",
    "127.0.0.1:1",
    "127.255.255.254:1",
    "[::1]:1",
    "[0:0:0:0:0:0:0:1]:1",
]
ELSEWHERE = [
    "127.0.0.1.evil.com:1",
    "localhost.evil.com:1",
    "evil-localhost:1",
    "evil.com:1",
    "127.0.0.1.:1",
    "128.0.0.1:1",
    "0.0.0.0:1",
    "[::]:1",
    "[2a02:6b8::1]:1",
    "10.0.0.1:1",
    "127.1:1",
    "2130706433:1",
    "0x7f000001:1",
    "0177.0.0.1:1",
    "llm.api.cloud.yandex.net:443",
]


def resolved(
    endpoint: Any = None, operation_endpoint: Any = None, *, plaintext: bool = False, **environment: str
) -> tuple[Endpoints, bool]:
    """What is decided under an environment."""
    return resolve_endpoints(endpoint, operation_endpoint, plaintext=plaintext, environment=environment)


# Endpoints


def test_the_service_is_the_default() -> None:
    assert resolved() == (SERVICE, False)


@pytest.mark.parametrize("address", GOOD)
def test_arguments_come_first(address: str) -> None:
    assert resolved(address) == (SERVICE._replace(model=address), False)
    assert resolved(None, address) == (SERVICE._replace(operation=address), False)
    assert resolved(address, "other:1", YAGRPC_EMULATOR_HOST="localhost:1") == (
        SERVICE._replace(model=address, operation="other:1"),
        False,
    )


@pytest.mark.parametrize("address", BAD)
@pytest.mark.parametrize("name", ["endpoint", "operation_endpoint"])
def test_an_endpoint_is_a_host_and_a_port(name: str, address: str) -> None:
    for plaintext in (True, False):
        with pytest.raises(ConfigError) as caught:
            resolved(**{name: address}, plaintext=plaintext)
        assert str(caught.value) == f"{name} is {hiding.shown(address)}: an endpoint is host:port, without a scheme"
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("address", [5, b"host:443", ["host:443"], ("host", 443), object])
def test_an_endpoint_is_a_text(address: Any) -> None:
    with pytest.raises(ConfigError, match="an endpoint is host:port"):
        resolved(address)


@given(address=st.text() | st.text(st.sampled_from(list("localhost127.:[]%/@0۳ \n"))) | st.from_regex(r".+:\d+"))
@example("[::1%25]:1")
def test_any_text_is_an_endpoint_or_the_error(address: str) -> None:
    ways: list[dict[str, Any]] = [
        {"endpoint": address},
        {"YAGRPC_EMULATOR_HOST": address, "YAGRPC_EMULATOR_ANYWHERE": "1"},
    ]
    for arguments in ways:
        try:
            endpoints, _ = resolved(**arguments)
        except ConfigError as error:
            assert len(str(error).splitlines()) == 1
            continue
        if not address:  # of the environment: as if it were not set
            assert endpoints == SERVICE
            continue
        assert endpoints.model == address
        assert address.isascii()
        assert address.isprintable()
        assert 0 < int(address.rpartition(":")[2]) < 65536


# Plaintext


@pytest.mark.parametrize("address", LOOPBACK)
def test_plaintext_goes_to_loopback(address: str) -> None:
    assert is_loopback(address)
    everywhere = Endpoints(address, address, address, address, plaintext=True)
    assert resolved(address, plaintext=True) == (everywhere, False)
    assert resolved(None, address, plaintext=True) == (everywhere, False)
    assert resolved(YAGRPC_EMULATOR_HOST=address) == (everywhere, True)


@pytest.mark.parametrize("address", ELSEWHERE)
def test_plaintext_goes_nowhere_else(address: str) -> None:
    assert not is_loopback(address)
    with pytest.raises(ConfigError, match="plaintext goes to loopback only; leave plaintext out to use TLS"):
        resolved(address, plaintext=True)
    with pytest.raises(ConfigError, match="operation_endpoint is .*: plaintext goes to loopback only"):
        resolved("127.0.0.1:1", address, plaintext=True)
    with pytest.raises(ConfigError, match="YAGRPC_EMULATOR_HOST is .*set YAGRPC_EMULATOR_ANYWHERE=1"):
        resolved(YAGRPC_EMULATOR_HOST=address)


@given(host=st.text() | st.from_regex(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\]).*", fullmatch=True))
def test_what_passes_for_loopback_is_loopback(host: str) -> None:
    address = f"{host}:1"
    if is_loopback(address):
        bare = host.removeprefix("[").removesuffix("]")
        assert bare == "localhost" or ipaddress.ip_address(bare).is_loopback


def test_two_endpoints_may_both_be_plaintext() -> None:
    assert resolved("localhost:1", "localhost:2", plaintext=True) == (
        Endpoints("localhost:1", "localhost:2", "localhost:1", "localhost:1", plaintext=True),
        False,
    )


def test_plaintext_needs_an_endpoint() -> None:
    with pytest.raises(ConfigError, match="plaintext is True without an endpoint: give endpoint='127.0.0.1:PORT'"):
        resolved(plaintext=True)


# The emulator


def test_an_emulator_takes_everything() -> None:
    host = "127.0.0.1:50051"
    everywhere = Endpoints(host, host, host, host, plaintext=True)
    assert resolved(YAGRPC_EMULATOR_HOST=host) == (everywhere, True)
    assert resolved(YAGRPC_EMULATOR_HOST=host, plaintext=True) == (everywhere, True)


@pytest.mark.parametrize("arguments", [{"endpoint": "host:1"}, {"operation_endpoint": "host:1"}])
def test_an_endpoint_is_stronger_than_the_emulator(arguments: dict[str, Any]) -> None:
    endpoints, emulator = resolved(**arguments, YAGRPC_EMULATOR_HOST="127.0.0.1:50051")
    assert not emulator
    assert not endpoints.plaintext


def test_an_empty_emulator_is_none() -> None:
    assert resolved(YAGRPC_EMULATOR_HOST="") == (SERVICE, False)


def test_an_emulator_elsewhere_has_to_be_wanted() -> None:
    endpoints, emulator = resolved(YAGRPC_EMULATOR_HOST="evil.com:1", YAGRPC_EMULATOR_ANYWHERE="1")
    assert (endpoints.model, endpoints.plaintext, emulator) == ("evil.com:1", True, True)
    with pytest.raises(ConfigError):
        resolved(YAGRPC_EMULATOR_HOST="evil.com:1", YAGRPC_EMULATOR_ANYWHERE="")


@pytest.mark.parametrize("address", [address for address in BAD if address])
def test_the_address_of_an_emulator_is_checked(address: str) -> None:
    with pytest.raises(ConfigError, match="YAGRPC_EMULATOR_HOST is .*: an endpoint is host:port"):
        resolved(YAGRPC_EMULATOR_HOST=address, YAGRPC_EMULATOR_ANYWHERE="1")


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", "127.0.0.1:50051")
    monkeypatch.setenv("YC_FOLDER_ID", "b1g")
    assert resolve_endpoints(None, None, plaintext=False)[1]
    assert resolve_folder(None) == "b1g"


def test_variables_of_others_do_not_matter() -> None:
    assert resolved(YC_API_ENDPOINT="", HTTPS_PROXY="http://proxy:1", YAGRPC_EMULATOR_ANYWHERE="1") == (SERVICE, False)


# The folder


@pytest.mark.parametrize("folder", ["b1g0example", "a", "A.b-c_9", "0"])
def test_the_folder_is_the_argument_then_the_variable(folder: str) -> None:
    assert resolve_folder(folder, {"YC_FOLDER_ID": "other"}) == folder
    assert resolve_folder(None, {"YC_FOLDER_ID": folder}) == folder
    assert resolve_folder(None, {}) is None


@pytest.mark.parametrize(
    "folder", ["", " ", "b1g ", "b1g\n", "a/b", "a?b", "a#b", "gpt://b1g", "папка", "é", "a\x00", "\ud800", "$", "a b"]
)
def test_a_folder_that_is_none_is_refused_by_where_it_came_from(folder: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_folder(folder, {"YC_FOLDER_ID": "b1g"})
    assert str(caught.value) == (f"folder_id is {folder!r}: a folder id has letters, digits, '.', '-' and '_' only")
    with pytest.raises(ConfigError, match=r"YC_FOLDER_ID is "):
        resolve_folder(None, {"YC_FOLDER_ID": folder})


@pytest.mark.parametrize("folder", [5, b"b1g", ["b1g"]])
def test_a_folder_is_a_text(folder: Any) -> None:
    with pytest.raises(ConfigError, match="folder_id is "):
        resolve_folder(folder, {})


@given(folder=st.text())
def test_any_text_is_a_folder_or_the_error(folder: str) -> None:
    try:
        found = resolve_folder(folder, {})
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert found == folder
        assert not set(folder) & set("/:?#% \n")


# Defaults


def test_the_documented_defaults() -> None:
    assert Quota() == Quota(get_per_second=50.0)
    assert Polling() == Polling(first=1.0, shortest=0.5, longest=30.0)
    assert (config.SUBMIT_TIMEOUT, config.COMPLETION_TIMEOUT, config.GET_TIMEOUT) == (60.0, 180.0, 10.0)
    assert config.RESULT_LIFETIME == 259_200.0


def test_every_setting_is_documented() -> None:
    for settings in (Quota, Polling):
        document = inspect.getdoc(settings) or ""
        assert all(f"{name}: " in document for name in settings._fields)


# Quota and polling


class Whole:
    """A whole number of another library, such as numpy's."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __index__(self) -> int:
        return self.number


class Real:
    """A number of another library, such as numpy's."""

    def __init__(self, number: float) -> None:
        self.number = number

    def __float__(self) -> float:
        return self.number


class Broken:
    """A value whose conversion fails, such as an array of several numbers."""

    def __float__(self) -> float:
        raise TypeError("only arrays of size 1 can be converted")

    def __repr__(self) -> str:
        return "array([1.,\n 2.])"


NO_NUMBERS = [True, False, "5", b"5", "", math.nan, math.inf, -math.inf, -1, -0.5, [5], object(), 1j, 10**400, Broken(),
              Real(math.nan), Whole(-1)]  # fmt: skip
"""What no field of `Quota` or `Polling` takes."""

RATES = [name for name in Quota._fields if name != "concurrent_completions"]

CLIENTS = pytest.mark.parametrize("client", [yagrpc.Client, yagrpc.AsyncClient])


def paced(quota: Any = Quota(), polling: Any = Polling()) -> tuple[Quota | None, Polling]:
    """The result of the two settings."""
    return check_settings(quota=quota, polling=polling)


def rates(number: Any) -> Quota:
    """A quota with one number for all rates."""
    return Quota()._replace(**dict.fromkeys(RATES, number))


def shown(value: object) -> str:
    """A value in a test's name, which is the same in every process and short."""
    text = repr(value)
    return type(value).__name__ if " at 0x" in text else text[:40]


@pytest.mark.parametrize("limit", [*NO_NUMBERS, 0, 0.0, -0.0, Whole(0), Real(0.0), 1e10, Decimal("NaN")], ids=shown)
@pytest.mark.parametrize("name", Quota._fields)
def test_a_quota_that_cannot_be_kept_is_refused_by_its_name(name: str, limit: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^quota\.{name} is .+: it takes .*, or None for no limit$") as caught:
        paced(Quota(**{name: limit}))
    unit = "a whole number of calls" if name == "concurrent_completions" else f"calls per {name.rpartition('_')[2]}"
    assert f": it takes {unit}, above 0" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("limit", [1.5, 1.0, Real(1.0), Decimal(1)])
def test_a_count_is_whole(limit: Any) -> None:
    with pytest.raises(ConfigError, match=r"concurrent_completions is .+: it takes a whole number of calls"):
        paced(Quota(concurrent_completions=limit))


@pytest.mark.parametrize("quota", [50, "none", (50.0,), {}, Polling(), False])
def test_a_quota_is_one(quota: Any) -> None:
    with pytest.raises(ConfigError, match=r"^quota is .+: it takes a yagrpc\.Quota, or None for no limits$"):
        paced(quota)


@pytest.mark.parametrize("seconds", [*NO_NUMBERS, None], ids=shown)
@pytest.mark.parametrize("name", Polling._fields)
def test_an_interval_that_is_none_is_refused_by_its_name(name: str, seconds: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^polling\.{name} is .+: it takes seconds, (0 or more|above 0)$"):
        paced(polling=Polling()._replace(**{name: seconds}))


def test_only_the_first_interval_may_be_0() -> None:
    assert paced(polling=Polling(first=0))[1].first == 0
    for name in ("shortest", "longest"):
        with pytest.raises(ConfigError, match=rf"^polling\.{name} is 0: it takes seconds, above 0$"):
            paced(polling=Polling()._replace(**{name: 0}))


@pytest.mark.parametrize("polling", [None, 1.0, (1.0, 0.5, 30.0), {}, Quota()])
def test_a_polling_is_one(polling: Any) -> None:
    with pytest.raises(ConfigError, match=r"^polling is .+: it takes a yagrpc\.Polling$"):
        paced(polling=polling)


@pytest.mark.parametrize(
    ("given", "number"),
    [(5, 5), (5.5, 5.5), (Whole(5), 5), (Real(5.5), 5.5), (Decimal("5.5"), 5.5), (Fraction(11, 2), 5.5)],
)
def test_a_number_of_any_library_becomes_pythons_own(given: Any, number: float) -> None:
    quota, polling = paced(rates(given), Polling(given, given, given))
    assert quota == rates(number)
    assert polling == Polling(number, number, number)
    assert {type(getattr(quota, name)) for name in RATES} == {type(polling.first)} == {type(number)}


def test_a_count_of_any_library_becomes_an_int() -> None:
    quota, _ = paced(Quota(concurrent_completions=Whole(3)))  # type: ignore[arg-type]
    assert quota is not None
    assert type(quota.concurrent_completions) is int


def test_no_quota_stays_none() -> None:
    nothing = Quota(*[None] * len(Quota._fields))
    assert paced(None)[0] is None
    assert paced(nothing)[0] == nothing


@given(rate=st.floats(5e-324, 1e9), count=st.integers(1, 10**9), seconds=st.floats(5e-324, 1e308))
@example(rate=1e9, count=10**9, seconds=1e308)
@example(rate=5e-324, count=1, seconds=5e-324)
def test_whatever_passes_can_be_computed_with(rate: float, count: int, seconds: float) -> None:
    quota, polling = paced(rates(rate)._replace(concurrent_completions=count), Polling(seconds, seconds, seconds))
    gates, scheduler = Gates(quota, RUNTIME.make_lock), Scheduler(quota, polling, RUNTIME)
    gate = gates.of(policy_of(methods.TextGenerationAsyncService.Completion).quotas)
    assert gate is not None
    for now in (0.0, 1.0):
        slot = gate.join()
        gate.take(slot, now)
        gate.bound(slot, now)
        scheduler.take(now)
        assert len(gates.used(now, Limit(*scheduler.gets(now)))) == len(Quota._fields)


# All settings, by both clients


@CLIENTS
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"quota": Quota(submit_per_second=0)}, "quota.submit_per_second is 0: it takes calls per second"),
        ({"quota": Quota(submit_per_second="5")}, "quota.submit_per_second is '5': it takes calls per second"),  # type: ignore[arg-type]
        ({"quota": Quota(submit_per_hour=0)}, "quota.submit_per_hour is 0: it takes calls per hour"),
        ({"quota": Quota(get_per_second=math.nan)}, "quota.get_per_second is nan: it takes calls per second"),
        ({"quota": 5}, "quota is 5: it takes a yagrpc.Quota"),
        ({"polling": Polling(first=math.inf)}, "polling.first is inf: it takes seconds"),
        ({"polling": None}, "polling is None: it takes a yagrpc.Polling"),
        ({"plaintext": "no"}, "plaintext is 'no': it takes True or False"),
        ({"plaintext": None}, "plaintext is None: it takes True or False"),
        ({"plaintext": 1}, "plaintext is 1: it takes True or False"),
        ({"model": None}, "model is None: it takes a model's name"),
        ({"model": 5}, "model is 5: it takes a model's name"),
        ({"model": ""}, "model is '': it takes a model's name"),
        ({"data_logging": "no"}, "data_logging is 'no': it takes True, False, or None"),
        ({"data_logging": 0}, "data_logging is 0: it takes True, False, or None"),
        ({"endpoints": ["a:1"]}, "endpoints is ['a:1']: it takes a dict"),
        ({"endpoints": {5: "a:1"}}, "endpoints is {5: 'a:1'}: it takes a dict"),
        ({"interceptors": 5}, "interceptors is 5: it takes a sequence of grpc"),
        ({"interceptors": None}, "interceptors is None: it takes a sequence of grpc"),
        ({"interceptors": [print]}, "interceptors[0] is <built-in function print>: it takes an object of grpc"),
        ({"interceptors": "no"}, "interceptors[0] is 'n': it takes an object of grpc"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_refused_by_its_name(client: Any, settings: Any, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        client(**{"folder_id": "b1g", "credentials": yagrpc.ApiKey("secret"), **settings})
    assert str(caught.value).startswith(expected)
    assert len(str(caught.value).splitlines()) == 1


@CLIENTS
def test_the_settings_are_checked_before_the_environment(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YAGRPC_EMULATOR_HOST", "nonsense")
    monkeypatch.setenv("YC_FOLDER_ID", "no folder")
    with pytest.raises(ConfigError, match="submit_per_second"):
        client(quota=Quota(submit_per_second=0), endpoint="nonsense", credentials=5)


def test_interceptors_are_those_of_the_clients_own_api() -> None:
    for client, wrong in ((yagrpc.Client, AsyncCounting()), (yagrpc.AsyncClient, Counting)):
        with pytest.raises(ConfigError, match=r"^interceptors\[0\] is .+: it takes an object of grpc"):
            client(folder_id="b1g", credentials=yagrpc.ApiKey("secret"), interceptors=[wrong])


class Counting(grpc.UnaryUnaryClientInterceptor):
    """An interceptor of gRPC's blocking API."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Pass the call on."""
        return continuation(client_call_details, request)


class AsyncCounting(grpc.aio.UnaryUnaryClientInterceptor):
    """An interceptor of gRPC's asyncio API."""

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        """Pass the call on."""
        return await continuation(client_call_details, request)

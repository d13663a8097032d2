"""Settings: the documented defaults, and what the environment says.

Rules: a default's source stands beside it; the environment is read when a client is made, never at import; what
cannot work is a `ConfigError` here, before anything is sent.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from yagrpc.errors import ConfigError

__all__ = ["Polling", "Quota"]

MODEL_ENDPOINT: Final = "llm.api.cloud.yandex.net:443"
"""Serves text generation and the tokenizer (public documentation, as all endpoints here)."""
OPERATION_ENDPOINT: Final = "operation.api.cloud.yandex.net:443"
IAM_ENDPOINT: Final = "iam.api.cloud.yandex.net:443"
DISCOVERY_ENDPOINT: Final = "api.cloud.yandex.net:443"

SUBMIT_TIMEOUT: Final = 60.0
"""Seconds for a submit and for other short calls, all attempts together (the official SDK's default)."""
COMPLETION_TIMEOUT: Final = 180.0
"""Seconds for a synchronous completion (the official SDK's default: generation takes over a minute at times)."""
GET_TIMEOUT: Final = 10.0
"""Seconds for one `OperationService.Get`."""
RESULT_LIFETIME: Final = 3 * 24 * 3600.0
"""Seconds for which the service keeps an operation's result: a documented hard limit."""
MESSAGE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of the largest message that is sent or taken; gRPC's own limit of 4 MiB is below some real answers."""


_ADDRESS: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(%[\w.~-]+)?\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})", re.ASCII)
"""A name, an IPv4 address or an IPv6 one in brackets, and a port."""

_FOLDER: Final = re.compile(r"[A-Za-z0-9._-]+")


class Quota(NamedTuple):
    """How much of the service's quotas a client may use; `None` is no limit.

    What all callers of a client send is kept below them: a call waits for its turn, first come, first served. The
    defaults are the documented default quotas ("Quotas and limits in AI Studio"). Support raises them; all clients
    of one cloud share them.

    Args:
        get_per_second: `OperationService.Get` calls per second, all operations together.
        submit_per_second: Asynchronous completions submitted per second.
        submit_per_hour: Asynchronous completions submitted per hour.
        concurrent_completions: Synchronous completions, streamed or not, that run at once.
        tokenize_per_second: `Tokenize` and `TokenizeCompletion` calls per second, together.
        embeddings_per_second: Embeddings per second.
        classification_per_second: Classifications per second, both kinds together.
        images_per_minute: Images submitted per minute.
        images_per_day: Images submitted per day.
    """

    get_per_second: float | None = 50.0
    submit_per_second: float | None = 10.0
    submit_per_hour: float | None = 5000.0
    concurrent_completions: int | None = 10
    tokenize_per_second: float | None = 50.0
    embeddings_per_second: float | None = 10.0
    classification_per_second: float | None = 1.0
    images_per_minute: float | None = 500.0
    images_per_day: float | None = 5000.0


class Polling(NamedTuple):
    """How often one operation is looked at, in seconds; the quota bounds all of them together.

    Args:
        first: Until the first look.
        shortest: Between two looks at a young operation.
        longest: Between two looks at an old one.
    """

    first: float = 1.0
    shortest: float = 0.5
    longest: float = 30.0


def check_pacing(quota: Quota | None, polling: Polling) -> None:
    """Check what paces the calls.

    Raises:
        ConfigError: A quota is no number above 0, or an interval none of 0 or more.
    """
    if not isinstance(quota, (Quota, type(None))):
        raise ConfigError(f"quota is {quota!r}: it takes a yagrpc.Quota, or None for no limits")
    for name, limit in (quota or _NO_QUOTA)._asdict().items():
        counted = name == "concurrent_completions"
        if limit is not None and not (_is_number(limit) and limit > 0 and (not counted or isinstance(limit, int))):
            takes = "a whole number of calls" if counted else f"calls per {name.rpartition('_')[2]}"
            raise ConfigError(f"quota.{name} is {limit!r}: it takes {takes}, or None for no limit")
    for name, seconds in polling._asdict().items():
        if not (_is_number(seconds) and seconds >= 0):
            raise ConfigError(f"polling.{name} is {seconds!r}: it takes seconds, 0 or more")


_NO_QUOTA: Final = Quota(*[None] * len(Quota._fields))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


class Endpoints(NamedTuple):
    """Where a client's calls go, each as `host:port`."""

    model: str
    operation: str
    iam: str
    discovery: str
    plaintext: bool


def resolve_endpoints(
    endpoint: str | None,
    operation_endpoint: str | None,
    *,
    plaintext: bool,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Endpoints, bool]:
    """Decide where calls go: arguments first, then `YAGRPC_EMULATOR_HOST`, then the service.

    Returns:
        The endpoints, and whether they are those of an emulator named by the environment.

    Raises:
        ConfigError: An endpoint is not `host:port`, or is plaintext and not loopback.
    """
    emulator = environment.get("YAGRPC_EMULATOR_HOST")
    if emulator and endpoint is None and operation_endpoint is None:
        _check_address("YAGRPC_EMULATOR_HOST", emulator)
        if not environment.get("YAGRPC_EMULATOR_ANYWHERE"):
            _check_loopback("YAGRPC_EMULATOR_HOST", emulator, "set YAGRPC_EMULATOR_ANYWHERE=1 to go there anyway")
        return Endpoints(emulator, emulator, emulator, emulator, plaintext=True), True
    for name, address in (("endpoint", endpoint), ("operation_endpoint", operation_endpoint)):
        if address is not None:
            check_given_endpoint(name, address, plaintext=plaintext)
    if not plaintext:
        model, operation = endpoint or MODEL_ENDPOINT, operation_endpoint or OPERATION_ENDPOINT
        return Endpoints(model, operation, IAM_ENDPOINT, DISCOVERY_ENDPOINT, plaintext=False), False
    one = endpoint or operation_endpoint
    if one is None:
        raise ConfigError("plaintext is True without an endpoint: give endpoint='127.0.0.1:PORT', or leave it out")
    return Endpoints(endpoint or one, operation_endpoint or one, one, one, plaintext=True), False


def logs_texts(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the logs show requests and answers whole: `YAGRPC_LOG_TEXTS=1`."""
    return environment.get("YAGRPC_LOG_TEXTS") == "1"


def check_given_endpoint(name: str, address: str, *, plaintext: bool) -> None:
    """Check an endpoint that the caller gave.

    Raises:
        ConfigError: It is not `host:port`, or is plaintext and not loopback.
    """
    _check_address(name, address)
    if plaintext:
        _check_loopback(name, address, "leave plaintext out to use TLS")


def check_kinds(quota: object, polling: object, endpoints: object) -> None:
    """Check that settings are of the kind that they should be, before anything is read from them.

    Raises:
        ConfigError: One is not.
    """
    if quota is not None and not isinstance(quota, Quota):
        raise ConfigError(f"quota is a {type(quota).__name__}: give yagrpc.Quota(...), or None for no limit")
    if not isinstance(polling, Polling):
        raise ConfigError(f"polling is a {type(polling).__name__}: give yagrpc.Polling(...)")
    if endpoints is not None and not isinstance(endpoints, Mapping):
        raise ConfigError(f"endpoints is a {type(endpoints).__name__}: give a dict of service and host:port")


def check_root_certificates(root_certificates: bytes | None, *, plaintext: bool) -> None:
    """Check the certificates that a caller trusts.

    Raises:
        ConfigError: They are no PEM, or there is no TLS to use them.
    """
    if root_certificates is None:
        return
    if not (isinstance(root_certificates, bytes) and b"-----BEGIN CERTIFICATE-----" in root_certificates):
        raise ConfigError("root_certificates is no PEM: it takes the bytes of a file that has BEGIN CERTIFICATE in it")
    if plaintext:
        raise ConfigError("root_certificates is of no use without TLS: leave it out, or plaintext")


def resolve_folder(folder_id: str | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The folder: the argument, then `YC_FOLDER_ID`; `None` where neither is given.

    Raises:
        ConfigError: It cannot be part of a model URI.
    """
    source = "folder_id" if folder_id is not None else "YC_FOLDER_ID"
    folder = folder_id if folder_id is not None else environment.get("YC_FOLDER_ID")
    if folder is None:
        return None
    if not isinstance(folder, str) or not _FOLDER.fullmatch(folder):
        raise ConfigError(f"{source} is {folder!r}: a folder id has letters, digits, '.', '-' and '_' only")
    return folder


def _check_address(name: str, address: str) -> None:
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ConfigError(f"{name} is {address!r}: an endpoint is host:port, without a scheme")


def _check_loopback(name: str, address: str, remedy: str) -> None:
    if not is_loopback(address):
        raise ConfigError(f"{name} is {address!r}: plaintext goes to loopback only; {remedy}")


def is_loopback(address: str) -> bool:
    """Whether `host:port` names this machine, without asking a name server."""
    import ipaddress  # only plaintext needs it, and it is slow to import

    host = address.rpartition(":")[0].removeprefix("[").removesuffix("]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

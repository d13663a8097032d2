"""Settings: the documented defaults, and what the environment says.

Rules: a default's source stands beside it; the environment is read when a client is created, never at import; what
cannot work is a `ConfigError` here, before anything is sent.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from yagrpc import quantities
from yagrpc.errors import ConfigError
from yagrpc.hiding import Environment, SecretMapping, has_form_of_secret, shown
from yagrpc.pasted import BOM, decoded, folder_mistake, mistake, pem_fault

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Polling", "Quota"]

ENVIRONMENT: Final = SecretMapping(os.environ)
"""The environment, live. No function takes `os.environ` itself: its repr shows all secrets among the variables."""

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


_ADDRESS: Final = r"(?a)(\[[0-9A-Fa-f:.]+(%[\w.~-]+)?\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})"
"""A name, an IPv4 address or an IPv6 one in brackets, and a port."""

_SCHEMES: Final = frozenset({"dns", "google-c2p", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds"})
"""Hosts that gRPC can't have: `unix:443` is a socket's path for it."""

_FOLDER: Final = r"[A-Za-z0-9._-]+"


class Quota(NamedTuple):
    """How much of the service's quotas a client may use; `None` is no limit.

    What all callers of a client send is kept below them: a call waits for its turn, first come, first served. The
    defaults are the documented default quotas ("Quotas and limits in AI Studio"). Support raises them; all clients
    of one cloud share them. Each number is above 0 and at most a billion.

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
    """How often one operation is polled, in seconds; the quota bounds all operations together.

    Args:
        first: Until the first Get; 0 sends it at once.
        shortest: Between two Gets of a young operation; above 0.
        longest: Between two Gets of an old operation; above 0.
    """

    first: float = 1.0
    shortest: float = 0.5
    longest: float = 30.0


def check_settings(
    quota: object,
    polling: object,
    endpoints: object = None,
    plaintext: object = False,
    model: object = "yandexgpt",
    data_logging: object = None,
    strict: object = False,
) -> tuple[Quota | None, Polling]:
    """Check a client's settings, before anything is computed from them.

    Returns:
        The quota and the polling, their numbers as `int` or `float`, whatever kind of number was given.

    Raises:
        ConfigError: A setting is of the wrong kind, or a number is out of its range.
    """
    if not (quota is None or isinstance(quota, Quota)):
        raise _refused("quota", quota, "a yagrpc.Quota, or None for no limits")
    if not isinstance(polling, Polling):
        raise _refused("polling", polling, "a yagrpc.Polling")
    if endpoints is not None and not (
        isinstance(endpoints, Mapping) and all(isinstance(name, str) for name in endpoints)
    ):
        raise _refused("endpoints", endpoints, "a dict of a service's name and host:port")
    if not isinstance(plaintext, bool):
        raise _refused("plaintext", plaintext, "True or False")
    if wrong := mistake(model):
        raise ConfigError(f"model is {shown(model)}: it {wrong}")
    if not (isinstance(model, str) and model):
        raise _refused("model", model, "a model's name, such as 'yandexgpt'")
    check_no_credential("model", model, "a model's name, such as 'yandexgpt'")
    if not (data_logging is None or isinstance(data_logging, bool)):
        raise _refused("data_logging", data_logging, "True, False, or None for the service's default")
    if not isinstance(strict, bool):
        raise _refused("strict", strict, "True or False")
    checked = None if quota is None else Quota(**{name: _limit(name, limit) for name, limit in quota._asdict().items()})
    return checked, Polling(**{name: _interval(name, seconds) for name, seconds in polling._asdict().items()})


def refuse_unknown(client: object, unknown: dict[str, Any]) -> None:
    """Refuse arguments that no client takes. The dict is emptied, as a value may be a secret.

    Args:
        client: The client.
        unknown: The arguments, by their names; usually none.

    Raises:
        TypeError: There are some.
    """
    if not unknown:
        return
    name, names = type(client).__name__, list(unknown)
    unknown.clear()
    remedy = _REMEDIES.get(names[0].lower())
    if remedy is None:
        import difflib  # only a mistake needs it
        import inspect

        near = difflib.get_close_matches(names[0], inspect.signature(type(client)).parameters, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else ""
    text = f"{name}() got an unexpected keyword argument {names[0]!r}"
    raise TypeError(f"{text}: {remedy}" if remedy else text)


_API_KEY: Final = "write credentials=yagrpc.ApiKey('...'), or set YC_API_KEY"
_TOKEN: Final = "write credentials=yagrpc.IamToken('...')"
_KEY_FILE: Final = "write credentials=yagrpc.ServiceAccountKey('key.json')"
_ENDPOINT: Final = "write endpoint='host:port'"
_EACH_CALL: Final = "give it to each call"
_REMEDIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("api_key", "apikey", "key", "secret", "api_token"), _API_KEY),
    **dict.fromkeys(("token", "iam_token", "iam", "auth", "authorization"), _TOKEN),
    **dict.fromkeys(
        ("oauth", "oauth_token", "yandex_passport_oauth_token"), "write credentials=yagrpc.OAuthToken('...')"
    ),
    **dict.fromkeys(("service_account_key", "sa_key", "key_file", "service_account_key_file"), _KEY_FILE),
    **dict.fromkeys(("folder", "folderid", "project", "organization"), "write folder_id='b1g...'"),
    **dict.fromkeys(("base_url", "url", "host", "address", "target", "server"), _ENDPOINT),
    **dict.fromkeys(("insecure", "secure", "tls", "ssl"), "write plaintext=True for a connection without TLS"),
    **dict.fromkeys(("model_uri", "model_name"), "write model='yandexgpt'"),
    **dict.fromkeys(("timeout", "temperature", "max_tokens", "system", "metadata", "request_id"), _EACH_CALL),
}
"""What to write in place of arguments that clients of other services have."""


def check_interceptors(interceptors: Any, api: ModuleType) -> tuple[Any, ...]:
    """Check the client interceptors of one of gRPC's two APIs.

    Args:
        interceptors: The interceptors that the caller gave.
        api: The API: `grpc` or `grpc.aio`, which have classes of their own.

    Returns:
        The interceptors, also where an iterator was given.

    Raises:
        ConfigError: They are no sequence, or one of them is no interceptor of this API.
    """
    try:
        given = tuple(interceptors)
    except TypeError as error:
        raise _refused("interceptors", interceptors, f"a sequence of {api.__name__} client interceptors") from error
    kinds = tuple(getattr(api, f"{kind}ClientInterceptor") for kind in _INTERCEPTED)
    for index, one in enumerate(given):
        if not isinstance(one, kinds):
            takes = f"an object of {api.__name__}'s UnaryUnaryClientInterceptor, or of one of its siblings"
            raise _refused(f"interceptors[{index}]", one, takes)
    return given


def _limit(name: str, limit: object) -> Any:
    """A field of the quota: a number of calls, or `None`."""
    if limit is None:
        return None
    counted = name == "concurrent_completions"
    number = quantities.number(limit, whole=counted)
    if number is None or not 0 < number <= _MOST_CALLS:
        takes = "a whole number of calls" if counted else f"calls per {name.rpartition('_')[2]}"
        raise _refused(f"quota.{name}", limit, f"{takes}, above 0 and up to a billion, or None for no limit")
    return number


def _interval(name: str, seconds: object) -> float:
    """A field of the polling: seconds."""
    number = quantities.seconds(seconds)
    if number is not None and not _is_finite(number):
        number = None
    if name == "first":  # the first Get may follow at once
        if number is None or number < 0:
            raise _refused("polling.first", seconds, "seconds, 0 or more")
    elif number is None or number <= 0:
        raise _refused(f"polling.{name}", seconds, "seconds, above 0")
    return number


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an int may be larger than any float
        return False


def _refused(name: str, value: object, takes: str) -> ConfigError:
    return ConfigError(f"{name} is {shown(value)}: it takes {takes}")


_INTERCEPTED: Final = ("UnaryUnary", "UnaryStream", "StreamUnary", "StreamStream")
"""What the names of gRPC's classes of interceptors begin with."""

_MOST_CALLS: Final = 1e9
"""The largest number of a quota: more is a mistake, or means no limit."""


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
    environment: Environment = ENVIRONMENT,
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


class Forbidding:
    """Whether a client may leave this machine: `YAGRPC_FORBID_SERVICE=1` forbids it, for tests.

    Args:
        forbids: Whether it does.
        emulator: Whether calls go to the emulator that the environment names, which may be anywhere.
    """

    __slots__ = ("emulator", "forbids")

    def __init__(self, forbids: bool, emulator: bool) -> None:
        self.forbids = forbids
        self.emulator = emulator

    def check(self, address: str) -> None:
        """Check where calls would go.

        Raises:
            ConfigError: They would leave this machine.
        """
        if self.forbids and not self.emulator and not is_loopback(address):
            raise ConfigError(
                f"calls to {address} are forbidden here (YAGRPC_FORBID_SERVICE=1, which yagrpc's pytest plugin sets in "
                "tests that use its fixtures): give the client an emulator's endpoint; pytest allows such calls with "
                "--yagrpc-forbid-service=nowhere"
            )


def forbids_service(*, emulator: bool, environment: Environment = ENVIRONMENT) -> Forbidding:
    """What `YAGRPC_FORBID_SERVICE` says.

    Args:
        emulator: Whether calls go to the emulator that the environment names.
        environment: The environment variables.
    """
    return Forbidding(environment.get("YAGRPC_FORBID_SERVICE") == "1", emulator)


def logs_texts(environment: Environment = ENVIRONMENT) -> bool:
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


def check_root_certificates(root_certificates: bytes | None, *, plaintext: bool) -> bytes | None:
    """Check the certificates that a caller trusts.

    Returns:
        The certificates in UTF-8, without a byte order mark: gRPC would not find the first one after it.

    Raises:
        ConfigError: They are no PEM, or cut short, or there is no TLS to use them.
    """
    if root_certificates is None:
        return None
    if plaintext:
        raise ConfigError("root_certificates is of no use without TLS: leave it out, or plaintext")
    text = decoded(root_certificates) if isinstance(root_certificates, bytes) else None
    if text is None or "-----BEGIN CERTIFICATE-----" not in text:
        raise ConfigError("root_certificates is no PEM: it takes the bytes of a file that has BEGIN CERTIFICATE in it")
    if fault := pem_fault(text):
        raise ConfigError(f"root_certificates can't be read: {fault}; copy the whole file again")
    return text.removeprefix(BOM).encode()


def check_no_credential(name: str, value: object, takes: str) -> None:
    """Check that a setting is no credential given by mistake: it would be sent, resolved or shown.

    Raises:
        ConfigError: It has the form of one; the message does not show it.
    """
    if isinstance(value, str) and has_form_of_secret(value):
        raise ConfigError(f"{name} has the form of a credential: it takes {takes}")


def resolve_folder(folder_id: str | None, environment: Environment = ENVIRONMENT) -> str | None:
    """The folder: the argument, then `YC_FOLDER_ID`; `None` where neither is given.

    Raises:
        ConfigError: It cannot be part of a model URI.
    """
    source = "folder_id" if folder_id is not None else "YC_FOLDER_ID"
    folder = folder_id if folder_id is not None else environment.get("YC_FOLDER_ID")
    if folder is None:
        return None
    if wrong := folder_mistake(folder):
        wrong = wrong.replace("the real value", "the folder's id, such as b1g8k3..., as the console shows it,")
        raise ConfigError(f"{source} is {shown(folder)}: it {wrong}")
    if not isinstance(folder, str) or not re.fullmatch(_FOLDER, folder):
        raise ConfigError(f"{source} is {shown(folder)}: a folder id has letters, digits, '.', '-' and '_' only")
    check_no_credential(source, folder, "the folder's id, such as 'b1g...'")
    return folder


def _check_address(name: str, address: str) -> None:
    found = re.fullmatch(_ADDRESS, address) if isinstance(address, str) else None
    if wrong := mistake(address):
        raise ConfigError(f"{name} is {shown(address)}: it {wrong}")
    if found is None or not 0 < int(found["port"]) < 65536:
        raise ConfigError(f"{name} is {shown(address)}: an endpoint is host:port, without a scheme")
    if found[1].lower() in _SCHEMES:
        raise ConfigError(
            f"{name} is {shown(address)}: gRPC takes {found[1]!r} for a scheme, not for a host; use another name"
        )


def _check_loopback(name: str, address: str, remedy: str) -> None:
    if not is_loopback(address):
        raise ConfigError(f"{name} is {shown(address)}: plaintext goes to loopback only; {remedy}")


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

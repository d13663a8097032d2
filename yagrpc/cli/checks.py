"""What `yagrpc doctor` checks: settings, credentials, endpoints, clock.

Rules: no check generates text or costs money. A finding shows names, lifetimes, addresses and the service's own
messages, never a secret. Every request has a timeout, and all endpoints are called at once.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from yagrpc import _pb, methods
from yagrpc._core.deadline import Deadline
from yagrpc._sync.background import outcome_in_thread
from yagrpc._version import __version__
from yagrpc.credentials.choice import variable_used
from yagrpc.credentials.exchanged import OAUTH_IS_RETIRED, OAuthToken
from yagrpc.errors import CallError, Code, ConfigError, YagrpcError

if TYPE_CHECKING:
    from yagrpc import Client
    from yagrpc.cli.options import Connection

__all__ = ["Finding", "run_checks"]

ALLOWED_OFFSET: Final = 60.0
"""Seconds by which this machine's clock may differ: tokens are signed and renewed by it."""

_PACKAGES: Final = ("grpcio", "protobuf", "googleapis-common-protos", "pyjwt", "cryptography", "click")

_UNKNOWN_ID: Final = "yagrpcdoctor00000000"
"""The id of an operation that does not exist."""

_NO_ANSWER: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNKNOWN, Code.CANCELLED})


_NO_CODES: Final[frozenset[Code]] = frozenset()
_EXCHANGE_REFUSED: Final = frozenset({Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED})
"""How the service refuses to exchange an empty request for a token: an endpoint that answers so works."""


class Finding(NamedTuple):
    """The result of one check.

    Args:
        about: What was checked.
        state: `ok`, `note`, `failed`, or `not set`.
        text: What was found.
        remedy: What to do; empty if nothing has to be done.
    """

    about: str
    state: str
    text: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything works, perhaps with a note."""
        return self.state in ("ok", "note")


def run_checks(connection: Connection, timeout: float) -> tuple[list[Finding], dict[str, str]]:
    """Run all checks.

    Args:
        connection: The settings of the client that is checked.
        timeout: Seconds that each answer may take.

    Returns:
        The findings, and the versions of yagrpc, Python and what is installed.
    """
    try:
        client = connection.client()
    except ConfigError as error:
        return [Finding("settings", "not set", str(error))], _versions()
    with client:
        findings = [_folder(client), *_credentials(client, timeout)]
        findings += _endpoints(client, timeout, authorized=all(found.ok for found in findings))
    return findings, _versions()


def _versions() -> dict[str, str]:
    found = {"yagrpc": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _folder(client: Client) -> Finding:
    folder = client._core.folder_id
    if folder is not None:
        return Finding("folder", "ok", folder)
    return Finding("folder", "not set", "no folder", "set YC_FOLDER_ID, or give --folder-id: models belong to folders")


def _emulated(client: Client) -> bool:
    """Whether all calls go to the emulator that the environment names: only then has a command `NoCredentials`."""
    used = client._core.credentials
    return bool(os.environ.get("YAGRPC_EMULATOR_HOST")) and used.fixed and used.authorization() is None


def _credentials(client: Client, timeout: float) -> Iterator[Finding]:
    """Which credentials are used, where they come from, and how long they are valid; gets a token if one is needed."""
    core = client._core
    if _emulated(client):
        yield Finding("credentials", "ok", "none: YAGRPC_EMULATOR_HOST is set")
        return
    source = variable_used(os.environ) or "this machine"
    if isinstance(core.credentials, OAuthToken):
        yield Finding("credentials", "note", f"{core.credentials!r} from {source}", OAUTH_IS_RETIRED)
    if core.authorizer is None:
        token = source == "YC_IAM_TOKEN"
        validity = "for at most 12 hours, and not renewed" if token else "until it expires or is revoked"
        yield Finding("credentials", "ok", f"{core.credentials!r} from {source}; it is valid {validity}")
        return
    call = core.call(methods.OperationService.Get, _get_request(), {"timeout": max(timeout, 1.0)})
    try:
        client._transport.run(core.authorizer.authorize(call, Deadline(call.timeout, core.clock)))
    except ConfigError as error:
        yield Finding("credentials", "not set", str(error))
    except YagrpcError as error:
        yield Finding("credentials", "failed", f"{core.authorizer.tokens.credentials!r} from {source}: {error}")
    else:
        used, held = core.authorizer.tokens.credentials, core.authorizer.tokens.held
        validity = "read for every call"
        if held is not None:
            known = held.known
            validity = _validity(held.end - core.wall()) if known else "valid for at most 12 hours, and renewed hourly"
        yield Finding("credentials", "ok", f"{used!r} from {source}; its token is {validity}")


def _validity(seconds: float) -> str:
    end = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time.time() + seconds))
    return f"valid until {end} ({seconds / 3600:.1f} h), and renewed before that"


def _endpoints(client: Client, timeout: float, *, authorized: bool) -> list[Finding]:
    """Whether each endpoint answers, and whether the clocks agree."""
    tokenize = _pb.text_generation_service_pb2.TokenizeRequest(
        model_uri=f"gpt://{client._core.folder_id}/yandexgpt", text="a"
    )
    requests: list[tuple[str, Any, Any, frozenset[Code]]] = [
        (
            "discovery",
            methods.ApiEndpointService.List,
            _pb.api_endpoint_service_pb2.ListApiEndpointsRequest(),
            _NO_CODES,
        ),
        ("iam", methods.IamTokenService.Create, _pb.iam_token_service_pb2.CreateIamTokenRequest(), _EXCHANGE_REFUSED),
    ]
    if authorized:
        requests += [
            ("model", methods.TokenizerService.Tokenize, tokenize, _NO_CODES),
            ("operation", methods.OperationService.Get, _get_request(), frozenset({Code.NOT_FOUND})),
        ]

    def all_at_once() -> list[Finding]:
        with ThreadPoolExecutor(len(requests) + 1) as pool:
            clock = pool.submit(_clock, client, timeout)
            answers = [pool.submit(_endpoint, client, timeout, *each) for each in requests]
            return [*(answer.result() for answer in answers), clock.result()]

    # Where Ctrl-C ends this wait, the client is closed, and so the requests end that the pool waits for.
    *findings, clock = outcome_in_thread(all_at_once, "yagrpc-doctor")
    if not authorized:
        remedy = "set up credentials and folder first"
        findings.append(Finding("model", "note", "not checked, nor is the operation service", remedy))
    return [*findings, clock]


def _endpoint(
    client: Client, timeout: float, name: str, method: Any, request: Any, expected: frozenset[Code]
) -> Finding:
    address = client._core.endpoint_of(method)
    start = time.monotonic()
    try:
        client.call(method, request, timeout=timeout)
    except CallError as error:
        if error.code not in expected:
            return Finding(name, "failed", str(error), _remedy(client) if error.code in _NO_ANSWER else "")
    except YagrpcError as error:
        return Finding(name, "failed", str(error))
    seconds = time.monotonic() - start
    security = "plaintext" if client._core.endpoints.plaintext else "TLS"
    return Finding(name, "ok", f"{address} answers ({security}, {seconds * 1000:.0f} ms)")


def _remedy(client: Client) -> str:
    """What to do if an endpoint does not answer."""
    if _emulated(client):
        return "start the emulator at that address: yagrpc emulator --port PORT; or unset YAGRPC_EMULATOR_HOST"
    return "check the network: DNS, firewall, proxy, and the root certificates of TLS"


def _clock(client: Client, timeout: float) -> Finding:
    """Compare this machine's clock with the date in the headers of an answer, if there is a date."""
    method = methods.ApiEndpointService.List
    request = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest()
    request_with_call: Callable[..., Any] = client._transport.channels.callable(method).with_call  # type: ignore[attr-defined]
    try:
        start = time.time()
        _, call = request_with_call(request, timeout=timeout)
        here = (start + time.time()) / 2
    except grpc.RpcError:
        return Finding("clock", "note", "not checked: discovery does not answer")
    headers = {key: value for key, value in call.initial_metadata() or ()}  # noqa: C416
    try:
        offset = here - parsedate_to_datetime(str(headers["date"])).timestamp()
    except (KeyError, ValueError, TypeError):
        return Finding("clock", "note", "not checked: the answer has no date")
    if abs(offset) <= ALLOWED_OFFSET:
        return Finding("clock", "ok", f"within {ALLOWED_OFFSET:.0f} s of the service's clock")
    side = "ahead of" if offset > 0 else "behind"
    text = f"{abs(offset):.0f} s {side} the service's clock: tokens are signed and renewed by this machine's clock"
    return Finding("clock", "failed", text, "set the clock, best by NTP")


def _get_request() -> _pb.operation_service_pb2.GetOperationRequest:
    return _pb.operation_service_pb2.GetOperationRequest(operation_id=_UNKNOWN_ID)

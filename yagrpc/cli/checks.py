"""What `yagrpc doctor` looks at: settings, credentials, endpoints, clock.

Rules: nothing is generated, and nothing costs anything. What a finding tells is made of names, lifetimes, addresses
and the service's own messages, never of a secret. Everything has a timeout, and all endpoints are asked at once.
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
from yagrpc._version import __version__
from yagrpc.credentials.choice import variable_used
from yagrpc.credentials.exchanged import OAUTH_IS_RETIRED, OAuthToken
from yagrpc.errors import CallError, Code, ConfigError, YagrpcError

if TYPE_CHECKING:
    from yagrpc import Client
    from yagrpc.cli.options import Connection

__all__ = ["Finding", "examine"]

ALLOWED_OFFSET: Final = 60.0
"""Seconds by which a clock may differ: tokens are signed and kept by it."""

_PACKAGES: Final = ("grpcio", "protobuf", "googleapis-common-protos", "pyjwt", "cryptography", "click")

_NOTHING: Final = "yagrpcdoctor00000000"
"""The id of an operation that there is not."""

_UNREACHED: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNKNOWN, Code.CANCELLED})


class Finding(NamedTuple):
    """One thing that was looked at.

    Args:
        about: What.
        state: `ok`, `note`, `failed`, or `not set`.
        text: What was found.
        remedy: What to do, if anything.
    """

    about: str
    state: str
    text: str
    remedy: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing has to be done."""
        return self.state in ("ok", "note")


def examine(connection: Connection, timeout: float) -> tuple[list[Finding], dict[str, str]]:
    """Look at everything.

    Args:
        connection: How clients are made here.
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
        findings += _endpoints(client, timeout, authorized=all(found.well for found in findings))
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
    """Whether everything goes to an emulator that the environment names: no command has `NoCredentials` otherwise."""
    used = client._core.credentials
    return bool(os.environ.get("YAGRPC_EMULATOR_HOST")) and used.fixed and used.authorization() is None


def _credentials(client: Client, timeout: float) -> Iterator[Finding]:
    """What is used, from where, and until when; obtains a token where one is needed."""
    core = client._core
    if _emulated(client):
        yield Finding("credentials", "ok", "none: YAGRPC_EMULATOR_HOST is set")
        return
    source = variable_used(os.environ) or "this machine"
    if isinstance(core.credentials, OAuthToken):
        yield Finding("credentials", "note", f"{core.credentials!r} from {source}", OAUTH_IS_RETIRED)
    if core.authorizer is None:
        token = source == "YC_IAM_TOKEN"
        until = (
            "for 12 hours at most, and is not renewed" if token else "until it is revoked, or its expiry if it has one"
        )
        yield Finding("credentials", "ok", f"{core.credentials!r} from {source}; it is good {until}")
        return
    call = core.call(methods.OperationService.Get, _get_request(), {"timeout": max(timeout, 1.0)})
    try:
        client._transport.run(core.authorizer.authorize(call))
    except ConfigError as error:
        yield Finding("credentials", "not set", str(error))
    except YagrpcError as error:
        yield Finding("credentials", "failed", f"{core.authorizer.tokens.credentials!r} from {source}: {error}")
    else:
        used, held = core.authorizer.tokens.credentials, core.authorizer.tokens.held
        until = "asked for every call"
        if held is not None:
            until = _good_for(held.end - core.wall()) if held.told else "good for 12 hours at most, and renewed hourly"
        yield Finding("credentials", "ok", f"{used!r} from {source}; its token is {until}")


def _good_for(seconds: float) -> str:
    end = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time.time() + seconds))
    return f"good until {end} ({seconds / 3600:.1f} h), and renewed before"


def _endpoints(client: Client, timeout: float, *, authorized: bool) -> list[Finding]:
    """Whether each endpoint answers, and what by the service's clock the time is."""
    tokenize = _pb.text_generation_service_pb2.TokenizeRequest(
        model_uri=f"gpt://{client._core.folder_id}/yandexgpt", text="a"
    )
    asked: list[tuple[str, Any, Any, frozenset[Code]]] = [
        ("discovery", methods.ApiEndpointService.List, _pb.api_endpoint_service_pb2.ListApiEndpointsRequest(), _NONE),
        ("iam", methods.IamTokenService.Create, _pb.iam_token_service_pb2.CreateIamTokenRequest(), _EMPTY),
    ]
    if authorized:
        asked += [
            ("model", methods.TokenizerService.Tokenize, tokenize, _NONE),
            ("operation", methods.OperationService.Get, _get_request(), frozenset({Code.NOT_FOUND})),
        ]
    with ThreadPoolExecutor(len(asked) + 1) as pool:
        clock = pool.submit(_clock, client, timeout)
        answers = [pool.submit(_endpoint, client, timeout, *each) for each in asked]
        findings = [answer.result() for answer in answers]
        if not authorized:
            remedy = "they are asked once credentials and folder are there"
            findings.append(Finding("model", "note", "not asked, and neither is the operation service", remedy))
        return [*findings, clock.result()]


_NONE: Final[frozenset[Code]] = frozenset()
_EMPTY: Final = frozenset({Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED})
"""How an exchange of nothing is refused by what answers."""


def _endpoint(
    client: Client, timeout: float, name: str, method: Any, request: Any, expected: frozenset[Code]
) -> Finding:
    address = client._core.endpoint_of(method)
    began = time.monotonic()
    try:
        client.call(method, request, timeout=timeout)
    except CallError as error:
        if error.code not in expected:
            return Finding(name, "failed", str(error), _remedy(client) if error.code in _UNREACHED else "")
    except YagrpcError as error:
        return Finding(name, "failed", str(error))
    seconds = time.monotonic() - began
    security = "plaintext" if client._core.endpoints.plaintext else "TLS"
    return Finding(name, "ok", f"{address} answers ({security}, {seconds * 1000:.0f} ms)")


def _remedy(client: Client) -> str:
    """What to do where an endpoint does not answer."""
    if _emulated(client):
        return "start the emulator there: yagrpc emulator --port PORT; or unset YAGRPC_EMULATOR_HOST"
    return "look at the network: name server, firewall, proxy, and the roots that TLS trusts"


def _clock(client: Client, timeout: float) -> Finding:
    """This machine's clock against the date in an answer's headers, where there is one."""
    method = methods.ApiEndpointService.List
    request = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest()
    ask: Callable[..., Any] = client._transport.callable(method).with_call  # type: ignore[attr-defined]
    try:
        began = time.time()
        _, answered = ask(request, timeout=timeout)
        here = (began + time.time()) / 2
    except grpc.RpcError:
        return Finding("clock", "note", "it can't be told whether it is right: discovery does not answer")
    headers = {key: value for key, value in answered.initial_metadata() or ()}  # noqa: C416
    try:
        offset = here - parsedate_to_datetime(str(headers["date"])).timestamp()
    except (KeyError, ValueError, TypeError):
        return Finding("clock", "note", "it can't be told whether it is right: the answer has no date")
    if abs(offset) <= ALLOWED_OFFSET:
        return Finding("clock", "ok", f"it agrees with the service's within {ALLOWED_OFFSET:.0f} s")
    side = "ahead of" if offset > 0 else "behind"
    text = f"it is {abs(offset):.0f} s {side} the service's: tokens are signed and kept by it"
    return Finding("clock", "failed", text, "set it, best by NTP")


def _get_request() -> _pb.operation_service_pb2.GetOperationRequest:
    return _pb.operation_service_pb2.GetOperationRequest(operation_id=_NOTHING)

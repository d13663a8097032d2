"""`doctor`: what is set up, and whether it works: settings, credentials, endpoints, clock.

Rules: no check generates text or costs money. A finding shows names, lifetimes, addresses and the service's own
messages, never a secret. Every request has a timeout, and all endpoints are called at once. Nothing is sent to an
address that the client itself would not call. Credentials are `ok` only if the service has accepted them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import parsedate_to_datetime
from importlib import metadata
from typing import Any, Final, Literal, NamedTuple

import grpc

from yagrpc import _pb, config, methods
from yagrpc._core.deadline import Deadline
from yagrpc._core.failure.connection import CERTAIN
from yagrpc._grpc.threads import outcome_in_thread
from yagrpc._sync.client import Client
from yagrpc._version import __version__
from yagrpc.config import ENVIRONMENT
from yagrpc.credentials import Credentials, IamToken, MetadataService, NoCredentials, YcCli
from yagrpc.credentials.base import ExchangedCredentials
from yagrpc.credentials.choice import variable_used, variables_set
from yagrpc.credentials.exchanged import OAUTH_IS_RETIRED, OAuthToken
from yagrpc.errors import CallError, Code, ConfigError, YagrpcError
from yagrpc.hiding import shown
from yagrpc.quantities import Seconds, seconds

__all__ = ["TIMEOUT", "Diagnosis", "Finding", "check", "doctor", "report"]

TIMEOUT: Final = 5.0
"""Seconds that each answer may take by default; all requests are sent at once."""

ALLOWED_OFFSET: Final = 60.0
"""Seconds by which this machine's clock may differ: tokens are signed and renewed by it."""

State = Literal["ok", "note", "failed", "not set"]

_PACKAGES: Final = ("grpcio", "protobuf", "googleapis-common-protos", "pyjwt", "cryptography", "click")

_UNKNOWN_ID: Final = "yagrpcdoctor00000000"
"""The id of an operation that does not exist."""

_NO_ANSWER: Final = frozenset({Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.UNKNOWN, Code.CANCELLED})

_SILENT: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""The statuses of a call whose peer has not answered."""

_NO_CODES: Final[frozenset[Code]] = frozenset()
_EXCHANGE_REFUSED: Final = frozenset({Code.INVALID_ARGUMENT, Code.UNAUTHENTICATED})
"""How the service refuses to exchange an empty request for a token: an endpoint that answers so works."""

_ACCEPTED: Final = frozenset({Code.OK, Code.NOT_FOUND, Code.PERMISSION_DENIED})
"""The statuses of a call with a credential that show that the service knows who calls."""

_OWN: Final = "Yandex Cloud's own"
_MACHINE: Final = "from this machine"


class Finding(NamedTuple):
    """The result of one check.

    Args:
        about: What was checked: `settings`, `folder`, `credentials`, `discovery`, `iam`, `model`, `operation`,
            `clock`. There may be several findings about one thing.
        state: `ok`; `note`: it works, or was not checked, and the text says why; `failed`; or `not set`.
        text: What was found, and which argument or environment variable it comes from.
        remedy: What to do; empty if nothing has to be done.
    """

    about: str
    state: State
    text: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether everything works, perhaps with a note."""
        return self.state in ("ok", "note")


class Diagnosis(NamedTuple):
    """What `doctor` found. Its text, `str(diagnosis)`, is a report for people.

    Args:
        findings: One for each check, and more where there is more to say.
        versions: The versions of yagrpc, of Python and of the packages that matter, by name.
    """

    findings: tuple[Finding, ...]
    versions: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether everything works, perhaps with notes."""
        return all(found.ok for found in self.findings)

    def __str__(self) -> str:
        return "\n".join("".join(text for text, _ in line) for line in report(self))


def doctor(client: Client | None = None, *, timeout: Seconds = TIMEOUT) -> Diagnosis:
    """Check what is set up, and whether it works; never raises because something does not.

        print(yagrpc.doctor())

    It checks settings, credentials, endpoints and the clock. It gets a token if one is needed, and sends each endpoint
    a request that is free of charge. It generates nothing, and shows no secret. It blocks: in asyncio, run it with
    `asyncio.to_thread(yagrpc.doctor)`. The command `yagrpc doctor` prints the same.

    Args:
        client: The client whose settings are checked; it is not closed. By default one that takes everything from the
            environment.
        timeout: Seconds that each answer may take, above 0.

    Raises:
        ConfigError: The arguments are none that it takes.
    """
    if not (client is None or isinstance(client, Client)):
        raise ConfigError(f"client is a {type(client).__name__}: it takes a yagrpc.Client, or None for the environment")
    given = seconds(timeout)
    if given is None or not 0 < given < float("inf"):
        raise ConfigError(f"timeout is {shown(timeout)}: it takes seconds, above 0")
    return check(Client, given) if client is None else Diagnosis((*_Checkup(client, given).run(),), _versions())


def check(make: Callable[[], Client], timeout: float) -> Diagnosis:
    """Check a client that is created, and closed, for this; settings that it refuses are a finding.

    Args:
        make: Creates the client.
        timeout: Seconds that each answer may take.
    """
    try:
        client = make()
    except ConfigError as error:
        return Diagnosis((Finding("settings", "not set", str(error)),), _versions())
    with client:
        return Diagnosis((*_Checkup(client, timeout).run(),), _versions())


def report(diagnosis: Diagnosis) -> Iterator[list[tuple[str, State | Literal[""]]]]:
    """The lines of a report for people; each is a list of texts, each with the state that it names, or `""`."""
    yield [("; ".join(f"{name} {version}" for name, version in diagnosis.versions.items()), "")]
    for found in diagnosis.findings:
        yield [(f"{found.about:<12} ", ""), (f"{found.state:<8}", found.state), (f" {found.text}", "")]
        if found.remedy:
            yield [(f"{'':<12} {'':<8} -> {found.remedy}", "")]


class _Answer(NamedTuple):
    """What an endpoint answered.

    Args:
        finding: The result of the check.
        error: Why the call failed, if it did.
        authorized: Whether it was sent with the credential.
    """

    finding: Finding
    error: YagrpcError | None
    authorized: bool

    @property
    def code(self) -> Code | int | None:
        """The status of the answer; `None` if the call failed without one."""
        return Code.OK if self.error is None else self.error.code


class _Checkup:
    """The checks of one client.

    Args:
        client: The client.
        timeout: Seconds that each answer may take.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self._client = client
        self._core = client._core
        self._timeout = timeout

    def run(self) -> Iterator[Finding]:
        """Run all checks, and give their findings in the order of a report."""
        yield self._folder()
        held, problem = self._credential()
        answers, others = self._endpoints(authorized=problem is None)
        yield from self._unused()
        if isinstance(self._core.credentials, OAuthToken):
            yield Finding("credentials", "note", f"{self._core.credentials!r} {self._source()}", OAUTH_IS_RETIRED)
        yield problem or self._proved(held, [answer for answer in answers if answer.authorized])
        yield from (answer.finding for answer in answers)
        yield from others

    def _folder(self) -> Finding:
        folder = self._core.folder_id
        if folder is None:
            remedy = "set YC_FOLDER_ID, or give folder_id=: models belong to folders"
            return Finding("folder", "not set", "no folder", remedy)
        if "folder_id" in self._core.given:
            return Finding("folder", "ok", f"{folder} from folder_id=")
        # A client of an emulator has this name where nobody gave one.
        source = "YC_FOLDER_ID" if ENVIRONMENT.get("YC_FOLDER_ID") else "YAGRPC_EMULATOR_HOST"
        return Finding("folder", "ok", f"{folder} from {source}")

    def _unused(self) -> Iterator[Finding]:
        """The settings of the environment that something else replaces: often the cause of a surprise."""
        used = self._core.given | {variable_used(ENVIRONMENT) or "YC_TOKEN"}
        for name in variables_set(ENVIRONMENT):
            if self._core.emulated:
                yield Finding("credentials", "note", f"{name} is set, and not used: YAGRPC_EMULATOR_HOST is set too")
            elif "credentials" in used:
                yield Finding("credentials", "note", f"{name} is set, and not used: credentials= is given")
            elif name not in used:
                yield Finding("credentials", "note", f"{name} is set, and not used: {variable_used(ENVIRONMENT)} is")
        if ENVIRONMENT.get("YAGRPC_EMULATOR_HOST") and not self._core.emulated:
            given = "endpoint" if "endpoint" in used else "operation_endpoint"
            yield Finding("settings", "note", f"YAGRPC_EMULATOR_HOST is set, and not used: {given}= is given")

    def _source(self) -> str:
        """Where the credentials come from."""
        if "credentials" in self._core.given:
            return "from credentials="
        used = variable_used(ENVIRONMENT)
        if used is not None:
            return f"from {used}"
        authorizer = self._core.authorizer
        chosen: Credentials = self._core.credentials if authorizer is None else authorizer.tokens.credentials
        variables: tuple[tuple[type[Credentials], str], ...] = (
            (IamToken, "YC_TOKEN"),
            (MetadataService, "YC_METADATA_ADDR"),
            (YcCli, "YC_PROFILE"),
        )
        for kind, variable in variables:
            if isinstance(chosen, kind) and ENVIRONMENT.get(variable):
                return f"from {variable}"
        return _MACHINE

    def _credential(self) -> tuple[str, Finding | None]:
        """Get what authorizes a call; gives what it is, or why there is none."""
        core = self._core
        if core.emulated:
            return "none: YAGRPC_EMULATOR_HOST is set", None
        if isinstance(core.credentials, NoCredentials):
            return f"{core.credentials!r} {self._source()}", None
        if core.authorizer is None:
            token = isinstance(core.credentials, IamToken)
            validity = "for at most 12 hours, and not renewed" if token else "until it expires or is revoked"
            return f"{core.credentials!r} {self._source()}; it is valid {validity}", None
        call = core.call(methods.OperationService.Get, _get_request(), {"timeout": max(self._timeout, 1.0)})
        try:
            self._client._transport.run(core.authorizer.authorize(call, Deadline(call.timeout, core.clock)))
        except ConfigError as error:
            source = self._source()
            text = str(error) if source == _MACHINE else f"{error}; the credentials are {source}"
            return "", Finding("credentials", "not set", text)
        except YagrpcError as error:
            text = f"{core.authorizer.tokens.credentials!r} {self._source()}: {error}"
            return "", Finding("credentials", "failed", text)
        used, held = core.authorizer.tokens.credentials, core.authorizer.tokens.held
        validity = "read for every call"
        if held is not None:
            unknown = "valid for at most 12 hours, and renewed hourly"
            validity = _validity(held.end - core.wall()) if held.known else unknown
        return f"{used!r} {self._source()}; its token is {validity}", None

    def _proved(self, held: str, answers: list[_Answer]) -> Finding:
        """The finding about credentials: whether the calls that were sent with them show that they are accepted."""
        if self._core.emulated:
            return Finding("credentials", "ok", held)
        refused = [answer for answer in answers if answer.code == Code.UNAUTHENTICATED]
        if refused:
            names = " and ".join(answer.finding.about for answer in refused)
            error = refused[0].error
            remedy = error.hint if error is not None else ""
            return Finding("credentials", "failed", f"{held}; refused by: {names}", remedy)
        if any(answer.code in _ACCEPTED for answer in answers):
            return Finding("credentials", "ok", f"{held}; the service accepts it")
        return Finding("credentials", "note", f"{held}; whether the service accepts it is not known: it has not said")

    def _endpoints(self, *, authorized: bool) -> tuple[list[_Answer], list[Finding]]:
        """Whether each endpoint answers; and what else is found there: what was not asked, and the clock."""
        folder = self._core.folder_id
        tokenize = _pb.text_generation_service_pb2.TokenizeRequest(model_uri=f"gpt://{folder}/yandexgpt", text="a")
        requests: list[tuple[str, Any, Any, frozenset[Code]]] = []
        skipped: list[Finding] = []
        listing = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest()
        exchange = _pb.iam_token_service_pb2.CreateIamTokenRequest()
        for name, method, request, expected in (
            ("discovery", methods.ApiEndpointService.List, listing, _NO_CODES),
            ("iam", methods.IamTokenService.Create, exchange, _EXCHANGE_REFUSED),
        ):
            if self._calls(name, method):
                requests.append((name, method, request, expected))
            else:
                text = f"not asked: the endpoint is from {self._given_endpoint()}, and {name} is {_OWN}"
                skipped.append(Finding(name, "note", text))
        if authorized and folder is not None:
            requests.append(("model", methods.TokenizerService.Tokenize, tokenize, _NO_CODES))
        else:
            skipped.append(Finding("model", "note", "not checked", "set up credentials and folder first"))
        if authorized:
            requests.append(("operation", methods.OperationService.Get, _get_request(), frozenset({Code.NOT_FOUND})))
        else:
            skipped.append(Finding("operation", "note", "not checked", "set up credentials first"))

        def all_at_once() -> tuple[list[_Answer], Finding]:
            with ThreadPoolExecutor(len(requests) + 1) as pool:
                clock = pool.submit(self._clock, asks_discovery=requests[0][0] == "discovery" if requests else False)
                answers = [pool.submit(self._endpoint, *each) for each in requests]
                return [answer.result() for answer in answers], clock.result()

        # Where Ctrl-C ends this wait, the client is closed, and so the requests end that the pool waits for.
        answered, clock = outcome_in_thread(all_at_once, "yagrpc-doctor")
        return answered, [*skipped, clock]

    def _calls(self, name: str, method: Any) -> bool:
        """Whether the client's user means a service of Yandex Cloud's own to be called.

        A client with an endpoint of its own calls endpoint discovery only for services that it does not know, and the
        IAM service only to exchange credentials.
        """
        if self._core.endpoints.model == config.MODEL_ENDPOINT:
            return True
        own = config.IAM_ENDPOINT if name == "iam" else config.DISCOVERY_ENDPOINT
        exchanged = name == "iam" and isinstance(self._core.credentials, ExchangedCredentials)
        return exchanged or self._core.endpoint_of(method) != own

    def _given_endpoint(self) -> str:
        """Where the endpoint of the model service comes from."""
        if self._core.emulated:
            return "YAGRPC_EMULATOR_HOST"
        return "endpoint=" if "endpoint" in self._core.given else "operation_endpoint="

    def _origin(self, name: str, address: str) -> str:
        """Where the address of an endpoint comes from."""
        own = {
            "discovery": config.DISCOVERY_ENDPOINT,
            "iam": config.IAM_ENDPOINT,
            "model": config.MODEL_ENDPOINT,
            "operation": config.OPERATION_ENDPOINT,
        }
        if address == own[name]:
            return _OWN
        endpoints = self._core.endpoints
        if address != getattr(endpoints, name):
            return "from endpoints="
        if name == "operation" and "operation_endpoint" in self._core.given:
            return "from operation_endpoint="
        return f"from {self._given_endpoint()}"

    def _endpoint(self, name: str, method: Any, request: Any, expected: frozenset[Code]) -> _Answer:
        address = self._core.endpoint_of(method)
        origin, authorized = self._origin(name, address), name in ("model", "operation")
        start = time.monotonic()
        try:
            self._client.call(method, request, timeout=self._timeout)
        except YagrpcError as error:
            if not (isinstance(error, CallError) and error.code in expected):
                remedy = self._remedy(origin, error.hint) if error.code in _NO_ANSWER else ""
                text = f"{error}; the address {address} is {origin}"
                return _Answer(Finding(name, "failed", text, remedy), error, authorized)
            failure: YagrpcError | None = error
        else:
            failure = None
        seconds = time.monotonic() - start
        security = "plaintext" if self._core.endpoints.plaintext else "TLS"
        text = f"{address} answers ({security}, {seconds * 1000:.0f} ms); the address is {origin}"
        return _Answer(Finding(name, "ok", text), failure, authorized)

    def _remedy(self, origin: str, hint: str) -> str:
        """What to do if an endpoint does not answer: what the error says, if it knows the one reason."""
        if hint in CERTAIN:
            return hint
        if self._core.emulated:
            return "start the emulator at that address: yagrpc emulator --port PORT; or unset YAGRPC_EMULATOR_HOST"
        checked = "" if origin == _OWN else f"the address {origin}, "
        return f"check the network: {checked}DNS, firewall, proxy, and the root certificates of TLS"

    def _clock(self, *, asks_discovery: bool) -> Finding:
        """Compare this machine's clock with the date in the headers of an answer, if there is a date.

        The call has no credential: a refusal has a date as well.
        """
        request: Any = _pb.text_generation_service_pb2.TokenizeRequest()
        method: Any = methods.TokenizerService.Tokenize
        if asks_discovery:
            request, method = _pb.api_endpoint_service_pb2.ListApiEndpointsRequest(), methods.ApiEndpointService.List
        name = "discovery" if asks_discovery else "model"
        start = time.time()
        try:
            sender: Any = self._client._transport.channels.callable(method)
            _, answer = sender.with_call(request, timeout=self._timeout)
        except YagrpcError as error:
            return Finding("clock", "note", f"not checked: {error}")
        except grpc.RpcError as error:
            answer = error
        here = (start + time.time()) / 2
        # An interceptor may answer with an object that has none of this.
        headers = {str(key): str(value) for key, value in getattr(answer, "initial_metadata", tuple)() or ()}
        if not headers and getattr(answer, "code", tuple)() in _SILENT:
            return Finding("clock", "note", f"not checked: {name} does not answer")
        try:
            offset = here - parsedate_to_datetime(headers["date"]).timestamp()
        except (KeyError, ValueError, TypeError):
            text = f"not checked: the answer has no date that this machine's clock can be compared with ({name})"
            return Finding("clock", "note", text)
        if abs(offset) <= ALLOWED_OFFSET:
            return Finding("clock", "ok", f"within {ALLOWED_OFFSET:.0f} s of the service's clock")
        side = "ahead of" if offset > 0 else "behind"
        if self._core.emulated:
            text = f"{abs(offset):.0f} s {side} the emulator's clock, which a test can move"
            return Finding("clock", "note", text)
        text = f"{abs(offset):.0f} s {side} the service's clock: tokens are signed and renewed by this machine's clock"
        return Finding("clock", "failed", text, "set the clock, best by NTP")


def _versions() -> dict[str, str]:
    found = {"yagrpc": __version__, "Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _validity(seconds: float) -> str:
    end = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time.time() + seconds))
    return f"valid until {end} ({seconds / 3600:.1f} h), and renewed before that"


def _get_request() -> _pb.operation_service_pb2.GetOperationRequest:
    return _pb.operation_service_pb2.GetOperationRequest(operation_id=_UNKNOWN_ID)

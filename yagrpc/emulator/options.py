"""The options of an emulator, declared once: names, defaults, types and descriptions.

`Emulator` takes the same parameters (`takes`), and the command `yagrpc emulator` derives its options and their help
from this declaration (`describe`).

Rules: the command loads this module for its help. So at the top it imports neither gRPC nor protobuf, but for the type
checker.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import ipaddress
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from yagrpc.emulator.cloud.quotas import EmulatorQuota
    from yagrpc.emulator.cloud.windows import QuotaModel
    from yagrpc.emulator.durations import Duration
    from yagrpc.emulator.faults.fault import Fault
    from yagrpc.emulator.replies import Replies
    from yagrpc.emulator.scripting.recording import Recording
    from yagrpc.emulator.tls import Certificates

__all__ = ["EmulatorOptions", "describe", "is_loopback", "takes"]

REPLIES: Final = "a dict of patterns and replies, or a function"
DURATION: Final = "a number of seconds, or a function that draws it, such as Lognormal(median=20, sigma=1)"

_OptionsP = ParamSpec("_OptionsP")
_OptionsT = TypeVar("_OptionsT")
_SelfT = TypeVar("_SelfT")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """Options of an emulator.

    Args:
        host: Where to listen: `localhost` or a loopback address.
        port: The port; 0 for any free one.
        i_know: Allow a host that other machines can reach. Accepted credentials are no secret there, nothing is
            encrypted without TLS, and the control service is refused.
        duration: How long an asynchronous operation runs, in seconds of the emulator's clock: a number, `inf` for an
            operation that never ends, or a distribution that draws the number. With 0 the operation is done in the
            first reply. The metadata `x-emulator-duration` of a request overrides it.
        completion_duration: How long a synchronous completion takes, likewise; the messages of a stream are spread over
            it.
        frozen: Stop the clock: time passes only when a test moves it.
        faults: Scripted faults, such as `Fault(LostReply(), method=paths.COMPLETION_ASYNC, calls=1)`.
        replies: Scripted replies: patterns, searched for in the last user text, with the reply to each, or a function
            of the request. A reply is a text, a `Failure`, a `google.rpc.Status` or a whole response.
        recording: Recorded answers, used instead of all others; a request without a recorded answer is refused.
        state: A file (SQLite) that keeps operations when the emulator crashes or stops. An operation is in the file
            before its reply is sent. Without it operations are kept in memory.
        control: Serve the control service too (yagrpc/emulator/v1/control.proto): its callers can script, read and
            reset the emulator.
        auth: Which credentials are accepted: `off` checks nothing, `present` accepts any well-formed credential, a
            collection such as `{"Api-Key abc"}` accepts its values and the IAM tokens that the emulator issues.
        quota: Quotas to enforce: an `EmulatorQuota`, whose defaults are the documented quotas, or none.
        quota_model: How calls are counted against quotas: in `sliding` or `fixed` windows, or by a token `bucket`.
        folder: The only folder that exists: models of other folders are refused. Without it any folder is accepted.
        seed: Makes ids, tokens and drawn durations the same in every run. Without it they differ, so that an id of an
            earlier emulator never names another operation of this one.
        tls: Listen with TLS, with a certificate that a throwaway authority signs (or with given `Certificates`). Needs
            the extra `emulator`.
        rest: Serve REST too, and a page that shows and controls the emulator: on any free port, or on the port that is
            given. Needs the extra `rest`.

    Raises:
        TypeError: An option is of another type.
        ValueError: An option is out of its range.
    """

    host: str = "127.0.0.1"
    port: int = 0
    i_know: bool = False
    duration: Duration = 1.0
    completion_duration: Duration = 0.0
    frozen: bool = False
    faults: Sequence[Fault] = ()
    replies: Replies | None = None
    recording: Recording | None = None
    state: str | Path | None = None
    control: bool = False
    auth: str | Collection[str] = "off"
    quota: EmulatorQuota | None = None
    quota_model: QuotaModel = "sliding"
    folder: str | None = None
    seed: int | None = None
    tls: bool | Certificates = False
    rest: bool | int = False

    def __post_init__(self) -> None:
        from yagrpc.emulator.clock import check_seconds
        from yagrpc.emulator.cloud.auth import check_auth
        from yagrpc.emulator.cloud.windows import QUOTA_MODELS

        self._check_types()
        if not is_loopback(self.host):
            if not self.i_know:
                raise ValueError(
                    f"the emulator listens on loopback only, not on {self.host!r}, unless i_know (--i-know) says that "
                    "others may reach it"
                )
            if self.control:
                raise ValueError(f"the control service is served on loopback only, not on {self.host!r}")
        for port in (self.port, self.rest):
            if not 0 <= port <= 65535:
                raise ValueError(f"a port is from 0 to 65535, not {port!r}")
        if self.rest is not False:
            _check_installed("rest", "starlette", "uvicorn")
        for name in ("duration", "completion_duration"):
            if not callable(duration := getattr(self, name)):
                check_seconds(name, duration, most=math.inf)
        check_auth(self.auth)
        if self.recording is not None and self.replies is not None:
            raise ValueError("replies and a recording exclude each other: a recording answers all requests")
        if self.quota_model not in QUOTA_MODELS:
            raise ValueError(f"quota_model is one of {', '.join(QUOTA_MODELS)}, not {self.quota_model!r}")

    def _check_types(self) -> None:
        """Refuse what would fail at a call, or in the emulator's thread, without the name of its option."""
        from yagrpc.emulator.cloud.quotas import EmulatorQuota
        from yagrpc.emulator.faults.fault import Fault
        from yagrpc.emulator.scripting.recording import Recording
        from yagrpc.emulator.tls import Certificates

        faults = isinstance(self.faults, Sequence) and all(isinstance(fault, Fault) for fault in self.faults)
        for name, fits, takes_what in (
            ("duration", callable(self.duration) or isinstance(self.duration, Real), DURATION),
            (
                "completion_duration",
                callable(self.completion_duration) or isinstance(self.completion_duration, Real),
                DURATION,
            ),
            ("quota", self.quota is None or isinstance(self.quota, EmulatorQuota), "an EmulatorQuota"),
            ("faults", faults, "a sequence of Fault"),
            ("replies", self.replies is None or callable(self.replies) or isinstance(self.replies, Mapping), REPLIES),
            ("recording", self.recording is None or isinstance(self.recording, Recording), "a Recording"),
            ("tls", isinstance(self.tls, (bool, Certificates)), "True, False or Certificates"),
            ("rest", isinstance(self.rest, int), "True, False or a port"),
        ):
            if not fits:
                raise TypeError(f"{name} is {getattr(self, name)!r}: it takes {takes_what}")


def describe(declared: type) -> dict[str, str]:
    """The descriptions of parameters, by name, as one line each; from the `Args:` of a class's docstring.

    Empty where Python drops docstrings (`-OO`).
    """
    section = inspect.getdoc(declared) or ""
    section = section.partition("\nArgs:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def takes(
    declared: Callable[_OptionsP, _OptionsT],
) -> Callable[[Callable[[_SelfT, _OptionsT], None]], Callable[Concatenate[_SelfT, _OptionsP], None]]:
    """Let an `__init__` that takes an object of options take the parameters of that object's class instead.

    Type checkers see the parameters, and so does `inspect.signature`.

    Args:
        declared: The class of the options.
    """

    def decorate(init: Callable[[_SelfT, _OptionsT], None]) -> Callable[Concatenate[_SelfT, _OptionsP], None]:
        def __init__(self: _SelfT, /, *args: _OptionsP.args, **kwargs: _OptionsP.kwargs) -> None:
            init(self, declared(*args, **kwargs))

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        parameters = inspect.signature(declared).parameters.values()
        taking: Any = __init__
        taking.__signature__ = inspect.Signature([own, *parameters], return_annotation=None)
        taking.__qualname__, taking.__module__ = init.__qualname__, init.__module__
        return __init__

    return decorate


def _check_installed(extra: str, *packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{extra} needs {' and '.join(missing)}: pip install 'yagrpc[{extra}]'")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

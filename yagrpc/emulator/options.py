"""What an emulator can be told: one frozen set of options."""

from __future__ import annotations

import dataclasses
import ipaddress
import random
from collections.abc import Collection, Sequence
from pathlib import Path

from yagrpc.emulator.cloud.auth import check_auth
from yagrpc.emulator.cloud.quotas import EmulatorQuota
from yagrpc.emulator.cloud.windows import QUOTA_MODELS, QuotaModel
from yagrpc.emulator.durations import Duration, draw
from yagrpc.emulator.faults.fault import Fault
from yagrpc.emulator.replies import Replies
from yagrpc.emulator.scripting.recording import Recording
from yagrpc.emulator.tls import Certificates

__all__ = ["EmulatorOptions"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmulatorOptions:
    """Options of an emulator.

    Raises:
        ValueError: An option is out of its range.
    """

    host: str = "127.0.0.1"
    """Where to listen: `localhost` or a loopback address. Others are refused without `i_know`: what it accepts as a
    credential is no secret, and without `tls` there is no encryption."""

    i_know: bool = False
    """Whether a host that others can reach is meant. The control service is refused there all the same."""

    port: int = 0
    """The port, or 0 for any free one."""

    duration: Duration = 1.0
    """How long an asynchronous operation runs, on the emulator's clock. With 0 it is done in the first reply."""

    completion_duration: Duration = 0.0
    """How long a synchronous completion takes, on the emulator's clock; a stream's messages are spread over it."""

    seed: int | None = None
    """Makes ids, tokens and durations the same in every run. Without one they differ, so that an id kept from an
    emulator that has ended never names another operation of the next one."""

    replies: Replies | None = None
    """Scripted replies: patterns of the last user text, or a function of the request."""

    auth: str | Collection[str] = "off"
    """`"off"`: nothing is checked. `"present"`: any well-formed credential. A collection such as `{"Api-Key abc"}`:
    these, and the IAM tokens that the emulator issues."""

    quota: EmulatorQuota | None = None
    """Quotas to enforce; `EmulatorQuota()` has the documented ones."""

    quota_model: QuotaModel = "sliding"
    """How calls are counted against quotas: `"sliding"`, `"fixed"` (by the clock's seconds) or `"bucket"`."""

    folder: str | None = None
    """The folder that there is: a model of another one is refused. `None`: any folder will do."""

    tls: bool | Certificates = False
    """Listen with TLS: a throwaway authority is made, whose certificate clients are to trust (`ca_file`); or one that
    was made before is used. Needs the extra `emulator`."""

    recording: Recording | None = None
    """Recorded answers, in place of all others."""

    frozen: bool = False
    """Whether time stands still but for `advance`."""

    faults: Sequence[Fault] = ()
    """Scripted faults, tried in their order."""

    state: str | Path | None = None
    """A file that keeps the operations: one that was accepted is in it before its reply leaves. `None` keeps them in
    memory only."""

    control: bool = False
    """Whether the control service is served too: whoever reaches it can script, read and reset the emulator."""

    def __post_init__(self) -> None:
        if not _is_loopback(self.host):
            if not self.i_know:
                raise ValueError(
                    f"the emulator listens on loopback only, not on {self.host!r}, unless i_know (--i-know) says that "
                    "others may reach it"
                )
            if self.control:
                raise ValueError(f"the control service is served on loopback only, not on {self.host!r}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"a port is from 0 to 65535, not {self.port!r}")
        for duration in (self.duration, self.completion_duration):
            if not callable(duration):
                draw(duration, random.Random())
        check_auth(self.auth)
        if self.recording is not None and self.replies is not None:
            raise ValueError("replies and a recording exclude each other: a recording answers all there is")
        if self.quota_model not in QUOTA_MODELS:
            raise ValueError(f"quota_model is one of {', '.join(QUOTA_MODELS)}, not {self.quota_model!r}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

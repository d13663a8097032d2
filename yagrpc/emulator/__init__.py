"""An emulator of Yandex Cloud Foundation Models: a real gRPC server on loopback that behaves as the service does.

    with Emulator(duration=5) as emulator:
        channel = grpc.insecure_channel(emulator.address)
        ...
        emulator.advance(5)    # operations are done now

It serves text generation (synchronous, streamed, asynchronous), the tokenizer, embeddings, classification, images,
operations, endpoint discovery and IAM tokens, validates requests, and can enforce credentials and quotas. It has a
clock of its own, which `advance` moves. Faults are scripted (`Fault`), operations can be kept across restarts
(`state=`), and a test in another process can control it (`Control`). docs/emulator.md says which behaviour is known of
the service, and which was chosen.

Rules: of this project it imports the generated messages and stubs only, so that it cannot share the client's bugs. The
parts that decide (`cloud`, `answers`, `faults.schema`) do no I/O and are given the time; the servicers and the pipeline
around them are thin. Imports point one way: tests/emulator/test_structure.py has the list, from the ground up.

The public names are those below; each is imported when it is first used, so that the command's help is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from yagrpc.emulator import paths as paths
    from yagrpc.emulator.clock import Clock as Clock
    from yagrpc.emulator.cloud.operations import OperationRecord as OperationRecord
    from yagrpc.emulator.cloud.quotas import EmulatorQuota as EmulatorQuota
    from yagrpc.emulator.cloud.quotas import parse_quota as parse_quota
    from yagrpc.emulator.cloud.windows import QuotaModel as QuotaModel
    from yagrpc.emulator.control.remote import Control as Control
    from yagrpc.emulator.durations import Bimodal as Bimodal
    from yagrpc.emulator.durations import Duration as Duration
    from yagrpc.emulator.durations import Exponential as Exponential
    from yagrpc.emulator.durations import Lognormal as Lognormal
    from yagrpc.emulator.durations import Uniform as Uniform
    from yagrpc.emulator.durations import parse_duration as parse_duration
    from yagrpc.emulator.emulator import Emulator as Emulator
    from yagrpc.emulator.faults.fault import Crash as Crash
    from yagrpc.emulator.faults.fault import Delay as Delay
    from yagrpc.emulator.faults.fault import DropConnection as DropConnection
    from yagrpc.emulator.faults.fault import EarlyError as EarlyError
    from yagrpc.emulator.faults.fault import ExpireToken as ExpireToken
    from yagrpc.emulator.faults.fault import Fault as Fault
    from yagrpc.emulator.faults.fault import Garbage as Garbage
    from yagrpc.emulator.faults.fault import Hang as Hang
    from yagrpc.emulator.faults.fault import LostReply as LostReply
    from yagrpc.emulator.faults.fault import NoResult as NoResult
    from yagrpc.emulator.faults.fault import Oversize as Oversize
    from yagrpc.emulator.faults.fault import Take as Take
    from yagrpc.emulator.faults.fault import WrongType as WrongType
    from yagrpc.emulator.options import EmulatorOptions as EmulatorOptions
    from yagrpc.emulator.received import Received as Received
    from yagrpc.emulator.replies import MODEL_VERSION as MODEL_VERSION
    from yagrpc.emulator.replies import Failure as Failure
    from yagrpc.emulator.replies import Replies as Replies
    from yagrpc.emulator.replies import Reply as Reply
    from yagrpc.emulator.replies import Streamed as Streamed
    from yagrpc.emulator.scripting.files import EmulatorScript as EmulatorScript
    from yagrpc.emulator.scripting.files import ScriptError as ScriptError
    from yagrpc.emulator.scripting.files import load_script as load_script
    from yagrpc.emulator.scripting.files import parse_script as parse_script
    from yagrpc.emulator.scripting.loading import load_function as load_function
    from yagrpc.emulator.scripting.recording import Recording as Recording
    from yagrpc.emulator.server import EmulatorServer as EmulatorServer
    from yagrpc.emulator.server import run as run
    from yagrpc.emulator.server import serve as serve
    from yagrpc.emulator.statefile import StateFileError as StateFileError
    from yagrpc.emulator.tls import Certificates as Certificates

_HOMES: Final = {
    "Clock": "clock",
    "OperationRecord": "cloud.operations",
    "EmulatorQuota": "cloud.quotas",
    "QuotaModel": "cloud.windows",
    "Control": "control.remote",
    "Bimodal": "durations",
    "Duration": "durations",
    "Exponential": "durations",
    "Lognormal": "durations",
    "Uniform": "durations",
    "parse_duration": "durations",
    "parse_quota": "cloud.quotas",
    "Emulator": "emulator",
    "Crash": "faults.fault",
    "Delay": "faults.fault",
    "DropConnection": "faults.fault",
    "EarlyError": "faults.fault",
    "ExpireToken": "faults.fault",
    "Fault": "faults.fault",
    "Garbage": "faults.fault",
    "Hang": "faults.fault",
    "LostReply": "faults.fault",
    "NoResult": "faults.fault",
    "Oversize": "faults.fault",
    "Take": "faults.fault",
    "WrongType": "faults.fault",
    "EmulatorOptions": "options",
    "Received": "received",
    "Failure": "replies",
    "MODEL_VERSION": "replies",
    "Replies": "replies",
    "Reply": "replies",
    "Streamed": "replies",
    "EmulatorScript": "scripting.files",
    "ScriptError": "scripting.files",
    "load_script": "scripting.files",
    "parse_script": "scripting.files",
    "load_function": "scripting.loading",
    "Recording": "scripting.recording",
    "EmulatorServer": "server",
    "run": "server",
    "serve": "server",
    "StateFileError": "statefile",
    "Certificates": "tls",
}
"""The module that each public name is defined in."""

__all__ = [*_HOMES, "paths"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name == "paths":
        found: Any = importlib.import_module("yagrpc.emulator.paths")
    elif name in _HOMES:
        found = getattr(importlib.import_module(f"yagrpc.emulator.{_HOMES[name]}"), name)
    else:
        raise AttributeError(f"module 'yagrpc.emulator' has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)

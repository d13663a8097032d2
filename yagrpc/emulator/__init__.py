"""An emulator of Yandex Cloud Foundation Models: a real gRPC server on loopback that behaves as the service does.

    with Emulator(duration=5) as emulator:
        channel = grpc.insecure_channel(emulator.address)
        ...
        emulator.advance(5)    # operations are done now

It serves text generation (synchronous, streamed, asynchronous), the tokenizer, embeddings, classification, images,
operations, endpoint discovery and IAM tokens, validates requests, and can enforce credentials and quotas. Time is its
own: `advance` moves it. What goes wrong is scripted (`Fault`), operations can outlive it (`state=`), and a test in
another process directs it (`Control`). docs/emulator.md says what of it is known of the service, and what was chosen.

Rules: of this project it imports the generated messages and stubs only, so that it cannot share the client's bugs.
What decides (validation, replies, tokens, quotas, operations) does no I/O and is given the time; the servicers and
the pipeline around them are thin.
"""

from __future__ import annotations

from yagrpc.emulator import paths
from yagrpc.emulator.clock import Clock
from yagrpc.emulator.cloud.operations import OperationRecord
from yagrpc.emulator.cloud.quotas import EmulatorQuota
from yagrpc.emulator.cloud.statefile import StateFileError
from yagrpc.emulator.cloud.windows import QuotaModel
from yagrpc.emulator.control.remote import Control
from yagrpc.emulator.durations import Bimodal, Duration, Exponential, Lognormal, Uniform, parse_duration
from yagrpc.emulator.emulator import Emulator
from yagrpc.emulator.faults.fault import (
    Crash,
    Delay,
    DropConnection,
    EarlyError,
    ExpireToken,
    Fault,
    Garbage,
    Hang,
    LostReply,
    NoResult,
    Oversize,
    Take,
    WrongType,
)
from yagrpc.emulator.options import EmulatorOptions
from yagrpc.emulator.received import Received
from yagrpc.emulator.replies import MODEL_VERSION, Failure, Replies, Reply, Streamed
from yagrpc.emulator.scripting.files import EmulatorScript, ScriptError, load_script, parse_script
from yagrpc.emulator.scripting.loading import load_function
from yagrpc.emulator.scripting.recording import Recording
from yagrpc.emulator.server import EmulatorServer, run, serve
from yagrpc.emulator.tls import Certificates

__all__ = [
    "MODEL_VERSION",
    "Bimodal",
    "Certificates",
    "Clock",
    "Control",
    "Crash",
    "Delay",
    "DropConnection",
    "Duration",
    "EarlyError",
    "Emulator",
    "EmulatorOptions",
    "EmulatorQuota",
    "EmulatorScript",
    "EmulatorServer",
    "ExpireToken",
    "Exponential",
    "Failure",
    "Fault",
    "Garbage",
    "Hang",
    "Lognormal",
    "LostReply",
    "NoResult",
    "OperationRecord",
    "Oversize",
    "QuotaModel",
    "Received",
    "Recording",
    "Replies",
    "Reply",
    "ScriptError",
    "StateFileError",
    "Streamed",
    "Take",
    "Uniform",
    "WrongType",
    "load_function",
    "load_script",
    "parse_duration",
    "parse_script",
    "paths",
    "run",
    "serve",
]

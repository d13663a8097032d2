"""An emulator of Yandex Cloud Foundation Models: a real gRPC server on loopback that behaves as the service does.

    with Emulator(duration=5) as emulator:
        channel = grpc.insecure_channel(emulator.address)
        ...
        emulator.advance(5)    # operations are done now

It serves text generation (synchronous, streamed, asynchronous), the tokenizer, embeddings, classification, images,
operations, endpoint discovery and IAM tokens, validates requests, and can enforce credentials and quotas. Time is its
own: `advance` moves it. docs/emulator.md says what of it is known of the service, and what was chosen.

Rules: of this project it imports the generated messages and stubs only, so that it cannot share the client's bugs.
What decides (validation, replies, tokens, quotas, operations) does no I/O and is given the time; the servicers and
the pipeline around them are thin.
"""

from __future__ import annotations

from yagrpc.emulator import paths
from yagrpc.emulator.clock import Clock
from yagrpc.emulator.loading import load_function
from yagrpc.emulator.options import Duration, EmulatorOptions, Exponential, Lognormal, Uniform
from yagrpc.emulator.quotas import EmulatorQuota
from yagrpc.emulator.received import Received
from yagrpc.emulator.recording import Recording
from yagrpc.emulator.replies import MODEL_VERSION, Failure, Replies, Reply, Streamed
from yagrpc.emulator.server import EmulatorServer, run, serve
from yagrpc.emulator.threaded import Emulator
from yagrpc.emulator.tls import Certificates
from yagrpc.emulator.windows import QuotaModel

__all__ = [
    "MODEL_VERSION",
    "Certificates",
    "Clock",
    "Duration",
    "Emulator",
    "EmulatorOptions",
    "EmulatorQuota",
    "EmulatorServer",
    "Exponential",
    "Failure",
    "Lognormal",
    "QuotaModel",
    "Received",
    "Recording",
    "Replies",
    "Reply",
    "Streamed",
    "Uniform",
    "load_function",
    "paths",
    "run",
    "serve",
]

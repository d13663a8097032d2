"""The server that all contestants of `make bench` use: fast, and it records what each contestant does.

It is a bare grpc.aio server in a separate process, with yagrpc's stubs (the wire format is the same for every
contestant). It records when each operation was done, and when a Get first returned that: the difference is the delay.
It listens in plaintext, and with TLS for a client that requires it. Its argument is the settings as JSON. It prints its
addresses as one line of JSON; when its standard input is closed, it prints its records as another line.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import math
import random
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import grpc.aio

from yagrpc import _pb

OPERATIONS = _pb.operation_pb2
SERVICES = ("iam", "operation", "endpoint", "ai-foundation-models", "ai-llm", "ai-llm-v1", "ai-foundation-models-v1")


class Settings(NamedTuple):
    """The settings of a server: the quota of Gets per second (or none), and how long operations take."""

    get_per_second: int | None = None
    durations: str = "lognormal"
    seed: int = 1


def draw(durations: str, rng: random.Random) -> float:
    """Seconds of service: `lognormal` (mean 2), `bimodal` (four of five 1 s, else 10 s), or a number."""
    if durations == "lognormal":
        return rng.lognormvariate(math.log(2.0) - 0.5, 1.0)
    if durations == "bimodal":
        return 1.0 if rng.random() < 0.8 else 10.0
    return float(durations)


class Service:
    """Submits, Gets, tokens and endpoints, and counters of them.

    Args:
        settings: The quota and the durations.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rng = random.Random(settings.seed)
        self._window: deque[float] = deque()
        self._operations: dict[str, tuple[float, bytes]] = {}
        self._reported: dict[str, float] = {}
        self.address = ""
        self.gets = self.refused = self.submits = self.calls = 0

    async def Completion(self, request: Any, context: Any) -> Any:
        """Accept an operation, and draw its end; the answer repeats the question."""
        now = time.time()
        self.submits += 1
        operation_id = f"d7q{self.submits:017d}"
        text = f"answer to {request.messages[-1].text}"
        answer = _pb.text_generation_service_pb2.CompletionResponse(model_version="bench")
        answer.alternatives.add(status=3, message=_pb.text_common_pb2.Message(role="assistant", text=text))
        answer.usage.total_tokens = 2
        done_at = now + draw(self._settings.durations, self._rng)
        operation = OPERATIONS.Operation(id=operation_id, description="Async GPT Completion")
        operation.created_at.FromNanoseconds(int(now * 1e9))
        pending = operation.SerializeToString()
        operation.done = True
        operation.modified_at.FromNanoseconds(int(done_at * 1e9))
        operation.response.Pack(answer)
        self._operations[operation_id] = (done_at, operation.SerializeToString())
        return OPERATIONS.Operation.FromString(pending)

    async def Get(self, request: Any, context: Any) -> Any:
        """Return an operation, under the quota: a sliding window of one second."""
        now = time.time()
        self.gets += 1
        if (limit := self._settings.get_per_second) is not None:
            while self._window and self._window[0] <= now - 1.0:
                self._window.popleft()
            if len(self._window) >= limit:
                self.refused += 1
                quota = "ai.operationGetRequestsPerSecond.rate rate quota limit exceed"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{quota}: allowed {limit} requests")
            self._window.append(now)
        done_at, message = self._operations[request.operation_id]
        if done_at > now:
            return OPERATIONS.Operation(id=request.operation_id)
        self._reported.setdefault(request.operation_id, now)
        return OPERATIONS.Operation.FromString(message)

    async def Tokenize(self, request: Any, context: Any) -> Any:
        """A call that does nothing."""
        self.calls += 1
        return _pb.text_generation_service_pb2.TokenizeResponse(model_version="bench")

    async def List(self, request: Any, context: Any) -> Any:
        """List this server as the endpoint of every service."""
        response = _pb.api_endpoint_service_pb2.ListApiEndpointsResponse()
        for name in SERVICES:
            response.endpoints.add(id=name, address=self.address)
        return response

    def seen(self) -> dict[str, Any]:
        """The records: counters, and the delays until a Get returned an end."""
        delays = sorted(at - self._operations[name][0] for name, at in self._reported.items())
        return {
            "submits": self.submits,
            "gets": self.gets,
            "refused": self.refused,
            "reported": len(delays),
            "mean": sum(delays) / len(delays) if delays else None,
            "p95": delays[min(len(delays) - 1, int(len(delays) * 0.95))] if delays else None,
        }


def certificate(folder: Path) -> tuple[bytes, bytes]:
    """A self-signed certificate for loopback, written to `ca.pem`; gives its key and the certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "yagrpc benchmark")])
    now = datetime.datetime.now(datetime.timezone.utc)
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(loopback, critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    (folder / "ca.pem").write_bytes(signed)
    unencrypted = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    return pem, signed


async def serve(settings: Settings, folder: Path) -> None:
    """Serve until standard input is closed."""
    service: Any = Service(settings)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    texts: Any = _pb.text_generation_service_pb2_grpc
    operations: Any = _pb.operation_service_pb2_grpc
    endpoints: Any = _pb.api_endpoint_service_pb2_grpc
    texts.add_TextGenerationAsyncServiceServicer_to_server(service, server)
    tokens = texts.TokenizerServiceServicer()
    tokens.Tokenize = service.Tokenize
    texts.add_TokenizerServiceServicer_to_server(tokens, server)
    polled = operations.OperationServiceServicer()
    polled.Get = service.Get
    operations.add_OperationServiceServicer_to_server(polled, server)
    listed = endpoints.ApiEndpointServiceServicer()
    listed.List = service.List
    endpoints.add_ApiEndpointServiceServicer_to_server(listed, server)
    credentials = grpc.ssl_server_credentials([certificate(folder)])
    port, tls_port = server.add_insecure_port("127.0.0.1:0"), server.add_secure_port("127.0.0.1:0", credentials)
    service.address = f"127.0.0.1:{tls_port}"
    await server.start()
    print(json.dumps({"address": f"127.0.0.1:{port}", "tls": service.address}), flush=True)
    closed = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, closed.set)
    await closed.wait()
    print(json.dumps(service.seen()), flush=True)
    await server.stop(None)


class Running:
    """A server that runs.

    Attributes:
        address: Where it listens in plaintext.
        tls: Where it listens with TLS.
        ca: The file of its authority's certificate.
    """

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process = process
        assert process.stdout is not None
        addresses = json.loads(process.stdout.readline())
        self.address: str = addresses["address"]
        self.tls: str = addresses["tls"]
        self.ca = folder / "ca.pem"

    def seen(self) -> dict[str, Any]:
        """End the server; gives its records."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        seen: dict[str, Any] = json.loads(self._process.stdout.readline())
        return seen


@contextmanager
def running(settings: Settings, folder: Path) -> Iterator[Running]:
    """A server in a separate process."""
    command = [sys.executable, __file__, json.dumps(settings._asdict()), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Running(process, folder)
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(Settings(**json.loads(sys.argv[1])), Path(sys.argv[2])))

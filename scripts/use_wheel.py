"""Uses an installed yagrpc as a newcomer would: both clients, against the emulator, without an account."""

from __future__ import annotations

import asyncio
from importlib.metadata import version

import yagrpc


def use_client(address: str) -> str:
    """A deferred completion with the blocking client."""
    nobody = yagrpc.NoCredentials()
    with yagrpc.Client(folder_id="demo", credentials=nobody, endpoint=address, plaintext=True) as client:
        operation = client.completion_async("How do you do?")
        return operation.result(timeout=30).text


async def use_async_client(address: str) -> str:
    """A deferred completion with the asyncio client."""
    nobody = yagrpc.NoCredentials()
    async with yagrpc.AsyncClient(folder_id="demo", credentials=nobody, endpoint=address, plaintext=True) as client:
        return (await (await client.completion_async("How do you do?"))).text


def main() -> None:
    """Run both, and say with which versions."""
    with yagrpc.emulator.Emulator() as emulator:
        blocking, awaited = use_client(emulator.address), asyncio.run(use_async_client(emulator.address))
    assert "How do you do?" in blocking, blocking
    assert blocking == awaited, (blocking, awaited)
    versions = " ".join(f"{package} {version(package)}" for package in ("yagrpc", "grpcio", "protobuf"))
    print(f"delivered twice with {versions}")


if __name__ == "__main__":
    main()

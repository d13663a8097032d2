"""The asyncio shell, over `grpc.aio.Channel`."""

"""A blocking rpc that is sent in a context (`contextvars`) of its own, where its interceptors find what was set there.

An interceptor may give a generator, whose code runs when a message is asked for, or when it is closed: that is done in
the same context.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextvars import Context
from types import GeneratorType
from typing import Any


class Within:
    """A callable of gRPC's that is called in a context.

    Args:
        sender: The callable.
        context: The context; no other thread runs in it at the same time.
    """

    def __init__(self, sender: Any, context: Context) -> None:
        self._context = context
        self._sender = sender
        if hasattr(sender, "with_call"):  # a host's channel may not be gRPC's own
            self.with_call = functools.partial(context.run, sender.with_call)

    def __call__(self, request: Any, *, timeout: float | None, metadata: Any) -> Any:
        """Start an rpc, or send it and wait for its answer."""
        rpc = self._context.run(self._sender, request, timeout=timeout, metadata=metadata)
        return Messages(rpc, self._context) if isinstance(rpc, GeneratorType) else rpc


class Messages:
    """The messages of a stream whose interceptor gives a generator.

    Args:
        generator: The generator.
        context: What its code runs in.
    """

    def __init__(self, generator: Any, context: Context) -> None:
        self._generator = generator
        self._context = context

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._context.run(next, self._generator)

    def close(self) -> None:
        """End the generator, and with it the rpc.

        Raises:
            RuntimeError: Another thread waits for its next message.
        """
        self._context.run(self._generator.close)

    def __del__(self) -> None:
        with contextlib.suppress(RuntimeError):  # the context is in use: the generator is closed outside it
            self.close()  # as a generator does by itself where it is dropped

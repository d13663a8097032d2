"""What a stream's messages become, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yagrpc.results import Chunk

if TYPE_CHECKING:
    from yagrpc import _pb


class ChunkReader:
    """Makes chunks of a completion's messages; remembers the text, since each message repeats it all."""

    __slots__ = ("_text",)

    def __init__(self) -> None:
        self._text = ""

    def __call__(self, response: _pb.text_generation_service_pb2.CompletionResponse) -> Chunk:
        chunk = Chunk(response, self._text)
        self._text = chunk.text
        return chunk

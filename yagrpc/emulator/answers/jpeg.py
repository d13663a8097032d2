"""The simplest possible JPEG: blocks of one grey each (baseline, one component), and a comment.

An image of the emulator is a file that every viewer opens, of the size that the request asks for; with this module it
needs no image library. Source of the format: ITU-T recommendation T.81; the table of Huffman codes is in annex K.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final

__all__ = ["BLOCK", "encode"]

BLOCK: Final = 8
"""Pixels of a block's side."""

_DC_COUNTS: Final = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
"""How many codes have each length, from 1 to 16."""
_DC_CODES: Final = (
    "00", "010", "011", "100", "101", "110", "1110", "11110", "111110", "1111110", "11111110", "111111110",
)  # fmt: skip
"""The code of a difference by its number of bits."""

_AC_COUNTS: Final = bytes([1, *[0] * 15])
_END_OF_BLOCK: Final = "0"
"""The only code for what varies inside a block: nothing varies."""


def encode(greys: Sequence[Sequence[int]], comment: str) -> bytes:
    """A JPEG file.

    Args:
        greys: Rows of blocks, each from 0 (black) to 255 (white).
        comment: Stored in the file as UTF-8, cut at 60,000 bytes.
    """
    height, width = len(greys) * BLOCK, len(greys[0]) * BLOCK
    header = [
        b"\xff\xd8",
        _segment(0xE0, b"JFIF\0" + bytes([1, 1, 0, 0, 1, 0, 1, 0, 0])),
        _segment(0xFE, comment.encode()[:60_000]),
        # A quantizer of 8 makes the mean of a block its coefficient: the transform of 64 equal pixels is 8 times one.
        _segment(0xDB, bytes([0, *[8] * 64])),
        _segment(0xC0, struct.pack(">BHHBBBB", 8, height, width, 1, 1, 0x11, 0)),
        _segment(0xC4, bytes([0x00]) + _DC_COUNTS + bytes(range(12))),
        _segment(0xC4, bytes([0x10]) + _AC_COUNTS + bytes([0])),
        _segment(0xDA, bytes([1, 1, 0x00, 0, 63, 0])),
    ]
    bits = "".join(_blocks(greys))
    bits += "1" * (-len(bits) % 8)
    data = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return b"".join(header) + data.replace(b"\xff", b"\xff\0") + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _blocks(greys: Sequence[Sequence[int]]) -> Iterator[str]:
    """The bits of each block: the difference from the grey before, and the end of the block."""
    before = 0
    for row in greys:
        for grey in row:
            difference, before = grey - 128 - before, grey - 128
            size = abs(difference).bit_length()
            # A negative number is written as its bits' complement.
            value = difference if difference >= 0 else difference + (1 << size) - 1
            yield _DC_CODES[size] + (f"{value:0{size}b}" if size else "") + _END_OF_BLOCK

"""Makes comments harmless: they end up between triple quotes in Python files.

protoc hands comments on as they are, and its plugins escape them in part or not at all.

Rules: an ordinary comment stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from google.protobuf import descriptor_pb2

__all__ = ["clean_comments", "escaped_comments"]

_UNREADABLE = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, those that change the direction of a text, and halves of characters."""

_LINE_ENDS = re.compile(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]")


def clean_comments(files: descriptor_pb2.FileDescriptorSet) -> None:
    """Make the comments of all files texts that can stand in a docstring: no triple quotes, no control characters."""
    _change(files, _clean)


def escaped_comments(files: descriptor_pb2.FileDescriptorSet) -> descriptor_pb2.FileDescriptorSet:
    """A copy whose comments have their backslashes doubled, for a plugin that does not do so."""
    copy = descriptor_pb2.FileDescriptorSet()
    copy.CopyFrom(files)
    _change(copy, lambda text: text.replace("\\", "\\\\"))
    return copy


def _clean(text: str | bytes) -> str:
    # protobuf gives bytes for what is not UTF-8: a descriptor set may hold that.
    decoded = text.decode(errors="replace") if isinstance(text, bytes) else text
    lines = _LINE_ENDS.sub("\n", decoded)
    return _UNREADABLE.sub("\ufffd", lines).replace('"""', "'''")


def _change(files: descriptor_pb2.FileDescriptorSet, change: Callable[[str], str]) -> None:
    for location in _commented(files):
        if location.leading_comments:
            location.leading_comments = change(location.leading_comments)
        if location.trailing_comments:
            location.trailing_comments = change(location.trailing_comments)
        location.leading_detached_comments[:] = map(change, location.leading_detached_comments)


def _commented(files: descriptor_pb2.FileDescriptorSet) -> Iterator[descriptor_pb2.SourceCodeInfo.Location]:
    for file in files.file:
        for location in file.source_code_info.location:
            if location.leading_comments or location.trailing_comments or location.leading_detached_comments:
                yield location

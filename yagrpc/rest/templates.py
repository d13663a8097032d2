"""Path templates of `google.api.http`: `/operations/{operation_id}:cancel`, `/v1/{name=folders/*/models/**}`.

    template = "/" segments [":" verb]
    segments = segment {"/" segment}
    segment  = "*" | "**" | literal | "{" field path ["=" segments] "}"

Rules, as google.api documents them: `*` is one segment, which is not empty; `**` is the rest of the path, and nothing
but a verb follows it. A path is compared as it was sent, so that an escaped slash never divides segments
and an escaped colon never begins a verb. The value of a variable of one segment is unescaped; in that of several,
`%2F` stays.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

__all__ = ["Template"]

_SEGMENT: Final = re.compile(r"/(\{[^{}]*\}|[^/{}]+)")
_VARIABLE: Final = re.compile(r"\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?:=([^{}]+))?\}")
_ESCAPED: Final = re.compile("%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Template:
    """A path template, ready to be compared with paths.

    Args:
        text: The template.

    Attributes:
        verb: Its custom verb, without the colon; empty where it has none.
        fields: The fields of the request that the path holds, as paths such as `folder.id`.

    Raises:
        ValueError: The text is no template.
    """

    __slots__ = ("_pattern", "_several", "fields", "text", "verb")

    def __init__(self, text: str) -> None:
        self.text = text
        body, self.verb = _without_verb(text)
        self.fields: list[str] = []
        self._several: set[str] = set()
        pattern = "".join(f"/{self._segment(segment)}" for segment in self._segments(body))
        if self.verb:
            pattern += re.escape(f":{self.verb}")
        self._pattern = re.compile(pattern, re.ASCII | re.DOTALL)

    def match(self, path: str) -> dict[str, str] | None:
        """The values of the fields, by field path, if the path is one of the template's; otherwise `None`.

        Args:
            path: The path as it was sent, with its escapes, without a query.
        """
        found = self._pattern.fullmatch(_normalized(path))
        if found is None:
            return None
        return {
            field: _unescape_several(value) if field in self._several else unquote(value)
            for field, value in zip(self.fields, found.groups(), strict=True)
        }

    def _segments(self, text: str) -> list[str]:
        """What stands between the slashes; a variable is one of these, whatever is in it."""
        found = [segment[1] for segment in _SEGMENT.finditer(text)]
        if not found or "".join(f"/{segment}" for segment in found) != text or any("**" in one for one in found[:-1]):
            raise self._error("it is segments with a slash before each, and ** is the last one")
        return found

    def _segment(self, segment: str) -> str:
        """The regular expression of a segment."""
        variable = _VARIABLE.fullmatch(segment)
        if variable is not None:
            field, inside = variable[1], variable[2] or "*"
            if field in self.fields:
                raise self._error(f"{field!r} is there twice")
            self.fields.append(field)
            inner = self._segments(f"/{inside}")
            if inner != ["*"]:
                self._several.add(field)
            if any("{" in each for each in inner):
                raise self._error("a variable is in another")
            # Groups are numbered: the name of a group can't have dots.
            return f"({'/'.join(map(self._segment, inner))})"
        if segment == "**":
            return ".*"
        if segment == "*":
            return "[^/]+"
        if set(segment) & set("{}*"):
            raise self._error(f"{segment!r} is no segment")
        return re.escape(_normalized(quote(segment, safe="!$&'()+,;=:@%")))

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"{self.text!r} is no path template: {reason}")


def _without_verb(text: str) -> tuple[str, str]:
    """A template in front of its custom verb, and the verb."""
    last = text.rfind("/")
    colon = text.find(":", max(last, text.rfind("}")))
    return (text, "") if colon < 0 else (text[:colon], text[colon + 1 :])


def _normalized(path: str) -> str:
    """A path in which no character is escaped without need: RFC 3986 says that both forms are one path."""

    def plain(escape: re.Match[str]) -> str:
        character = chr(int(escape[0][1:], 16))
        return character if character in _UNRESERVED else escape[0].upper()

    return _ESCAPED.sub(plain, path)


def _unescape_several(value: str) -> str:
    """The value of a variable of several segments: only the slashes that divide them are plain."""
    return "/".join(unquote(part).replace("/", "%2F") for part in value.split("/"))

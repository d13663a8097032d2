"""Texts of the other side, cleaned before anything shows them: what a service, a gateway or a program said.

Such a text may hold anything: a newline forges a line of a log, an escape sequence commands a terminal, and a control
character of bidirectional text, or an invisible one, shows something else than it is. So it is cleaned once, where it
comes in: statuses in `_core/failure/status.py`, ids in `_core/call/metadata.py`, ids of operations in
`_core/failure/final.py`, errors of operations in `_core/operation/result.py`, and what a command or the metadata
service said in `credentials/`. Results are not changed: only a terminal gets them without what controls it.

Rules: standard library only; nothing here raises. How long a text of an error may be is decided in `errors/base.py`.
"""

from __future__ import annotations

import re
from typing import Final

ID: Final = 200
"""Characters of an id at most; the service's own have up to 50."""

SHOWN: Final = 500
"""Characters of an id, or of a name, that are kept at most, for what only names something."""

UNSAFE: Final = (
    "["
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters; not tab and newline
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # controls of bidirectional text
    "\u2028\u2029"  # the separators of lines and of paragraphs
    "\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"  # invisible
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ud800-\udfff"  # halves of characters, which no stream can encode
    "]"
)
"""What may control a terminal, or hide a text; joiners and variants, which emoji need, are not among it."""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def cleaned(text: str) -> str:
    """A text in one line, with a replacement for each character that may control a terminal or hide a text."""
    return " ".join(re.sub(UNSAFE, _in_line, text).split())


def for_terminal(text: str) -> str:
    """A text of any lines, with a replacement for each character that may control a terminal or hide a text."""
    return re.sub(UNSAFE, REPLACEMENT, text)


def is_id(text: str) -> bool:
    """Whether a text can be an id: printable, of a sensible length, without spaces around it.

    The shape of ids is not documented, so nothing else is checked.
    """
    return 0 < len(text) <= ID and text.isprintable() and text == text.strip()


def identifier(text: str) -> str:
    """An id, or a name, that came with an answer, as it is kept and shown: cleaned and cut."""
    text = text[:SHOWN]
    return text if text.isprintable() else cleaned(text)


def _in_line(found: re.Match[str]) -> str:
    """What stands for a character: a space for one that ends a line, as `str.split` takes it."""
    return " " if found[0].isspace() else REPLACEMENT

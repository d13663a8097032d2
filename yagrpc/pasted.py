"""Values as people paste them: in the quotes of a `.env` file, placeholders of an example, PEM that lost something.

Rules: standard library only; nothing here raises, and no fault that is returned shows the value. What is meant without
doubt is repaired; what can't work is found when a setting is checked, and not by the first call.
"""

from __future__ import annotations

import base64
import binascii
import re
import textwrap
from typing import Final

_QUOTES: Final = "\"'`«»“”„‘’"

_PLACEHOLDER: Final = r"(?s)<.*>|\{\{.*\}\}|\$\w+|\$\{.*\}|\$\(.*\)|%\w+%|\w{0,6}(\.{3}|…)"
"""What examples have where a value belongs: `<folder_ID>`, `${YC_FOLDER_ID}`, `b1g...`."""

_FOLDER: Final = r"(?i)(yc_)?(your_?|my_?|the_?)?(cloud_?)?(folder|catalog(ue)?)_?id|(ид|идентификатор)_?каталога"

BOM: Final = "\ufeff"
"""What some editors put before a text; it belongs to no value."""

_BLOCK: Final = r"(?s)-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----"


def mistake(value: object) -> str:
    """What is plainly wrong with a value, as the end of a sentence about it; empty where nothing is."""
    if not isinstance(value, str) or not value:
        return ""
    if value[0] in _QUOTES or value[-1] in _QUOTES:
        return "is in quotes: leave them out (some readers of .env files keep them)"
    if re.fullmatch(_PLACEHOLDER, value):
        return "is a placeholder: put the real value in its place"
    return ""


def folder_mistake(value: object) -> str:
    """The same, of the id of a folder: an example may have a word there."""
    word = isinstance(value, str) and re.fullmatch(_FOLDER, value.replace("-", "_"))
    return "is a placeholder: put the real value in its place" if word else mistake(value)


def decoded(data: bytes) -> str | None:
    """The text of a file, without a byte order mark; `None` where it is not UTF-8.

    Editors and shells of Windows write such a mark, and UTF-16.
    """
    for mark, encoding in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"", "utf-8-sig")):
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError:
                break
    return None


def repaired_pem(text: str) -> str:
    """PEM with its line ends, where they were written as two characters or became spaces; else as it is."""
    joined = text.replace("\\r", "").replace("\\n", "\n")

    def lines(found: re.Match[str]) -> str:
        label, body = found[1], found[2]
        if ":" in body:  # headers, of an encrypted key
            return found[0]
        return f"-----BEGIN {label}-----\n" + textwrap.fill("".join(body.split()), 64) + f"\n-----END {label}-----"

    return re.sub(_BLOCK, lines, joined)


def pem_fault(text: str) -> str:
    """What is wrong with PEM, as the end of a sentence about it; empty where each block is whole."""
    blocks = re.findall(_BLOCK, text)
    if len(blocks) < text.count("-----BEGIN"):
        return "it is cut short: a BEGIN line has no END line"
    for _, body in blocks:
        if ":" not in body and (fault := _body_fault(body)):
            return fault
    return ""


def _body_fault(body: str) -> str:
    try:
        der = base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError):
        return "it is damaged: what is between BEGIN and END is no base64"
    size = _size_of(der)
    if size > len(der):
        return "it is cut short: lines are missing between BEGIN and END"
    return "" if size == len(der) else "it is damaged: what is between BEGIN and END is no key or certificate"


def _size_of(der: bytes) -> int:
    """The bytes that the sequence takes that DER begins with; 0 where it begins with something else."""
    if len(der) < 2 or der[0] != 0x30:
        return 0
    if der[1] < 0x80:
        return 2 + der[1]
    counted = der[1] & 0x7F
    return 2 + counted + int.from_bytes(der[2 : 2 + counted], "big")

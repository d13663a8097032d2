"""What is likely behind a refusal, and what to do about it: one table.

Rules: a hint is part of a line, names arguments and variables by their names (`command` names options), and never
repeats what the service said. It decides nothing: messages are the service's to change, so no retry hangs on them. The
first row that fits holds; most are from the documentation's page of error codes or from what users report, as are the
messages. No NamedTuple is here: what may be loaded after Ctrl-C evaluates no text, else Python forgets by which signal
the process ends.
"""

from __future__ import annotations

import re
from typing import Final

from yagrpc.errors import Code


class Row:
    """One likely cause.

    Args:
        code: The status of the refusal.
        pattern: Found in the service's message, case aside.
        hint: The text of the hint.
        model_uri: Found in the request's model URI, where it has one.
        command: The text of the hint for a user of the command, who has options and variables in place of arguments
            and classes; empty where it is the same.
    """

    __slots__ = ("code", "command", "hint", "model_uri", "pattern")

    def __init__(self, code: Code, pattern: str, hint: str, model_uri: str = "", command: str = "") -> None:
        self.code = code
        self.pattern = pattern
        self.hint = hint
        self.model_uri = model_uri
        self.command = command


HINTS: Final = (
    Row(
        Code.UNAUTHENTICATED,
        "specify folder id",
        "the token is a user account's, which goes with a folder: give the client folder_id=, and IamToken(token, "
        "user=True)",
        command="the token is a user account's, which goes with a folder: set YC_FOLDER_ID, and unset YC_IAM_TOKEN and "
        "YC_TOKEN, so that the profile of the yc command is used; or use a service account's API key",
    ),
    Row(
        Code.UNAUTHENTICATED,
        "has to be passed",
        "no credential was sent, or of an unknown scheme: NoCredentials() is for emulators and gateways only",
        command="no credential was sent, or of an unknown scheme: 'yagrpc doctor' shows which credentials are used",
    ),
    Row(
        Code.UNAUTHENTICATED,
        "api ?key has expired",
        "create a new API key, and revoke this one",
    ),
    Row(
        Code.UNAUTHENTICATED,
        "unknown api ?key",
        "the API key is wrong (its secret is meant, not its id) or deleted, or its scope is too narrow: it takes "
        "yc.ai.languageModels.execute or yc.ai.foundationModels.execute",
    ),
    Row(
        Code.UNAUTHENTICATED,
        "token is (invalid|expired)|has expired",
        "an IAM token lives for 12 hours at most: a literal one is not renewed, but ServiceAccountKey(...), "
        "MetadataService() and IamToken(callable) are",
        command="an IAM token lives for 12 hours at most, and one from YC_IAM_TOKEN is not renewed: set a new one, or "
        "use YC_SERVICE_ACCOUNT_KEY_FILE, whose tokens are renewed",
    ),
    Row(Code.UNAUTHENTICATED, "", "'yagrpc doctor' shows which credentials are used, and where they come from"),
    Row(
        Code.INVALID_ARGUMENT,
        "folder id .* does not match",
        "a service account works in its own folder: give that one as folder_id=, or leave out x-folder-id and "
        "user=True, which are for user accounts",
        command="a service account works in its own folder: give that one as YC_FOLDER_ID or --folder-id",
    ),
    Row(
        Code.INVALID_ARGUMENT,
        "",
        "the model URI has an empty folder: it is gpt://FOLDER/MODEL",
        model_uri=r"^\w+:///",
    ),
    Row(
        Code.PERMISSION_DENIED,
        "",
        "the model URI has an empty folder: it is gpt://FOLDER/MODEL",
        model_uri=r"^\w+:///",
    ),
    Row(
        Code.PERMISSION_DENIED,
        "folder|cloud",
        "the account needs the role ai.languageModels.user on the folder of the model URI, and the folder's cloud an "
        "active billing account",
    ),
    Row(
        Code.PERMISSION_DENIED,
        "access to model",
        "the model is not available to this account: check the model URI's folder and name, and the account's role "
        "ai.languageModels.user",
    ),
    Row(
        Code.PERMISSION_DENIED,
        "",
        "check the account's roles on the folder, the API key's scope, and whether a billing account is linked",
    ),
)


def hint(code: Code, message: str, request: object = None) -> str:
    """What is likely behind a refusal; empty where nothing is known.

    Args:
        code: The status.
        message: What the service said.
        request: What was sent.
    """
    rows = _BY_CODE.get(code)
    if rows is None:
        return ""
    model_uri = str(getattr(request, "model_uri", ""))
    for row in rows:
        if re.search(row.pattern, message, re.IGNORECASE) and re.search(row.model_uri, model_uri):
            return row.hint
    return ""


_BY_CODE: Final = {code: tuple(row for row in HINTS if row.code is code) for code in {row.code for row in HINTS}}

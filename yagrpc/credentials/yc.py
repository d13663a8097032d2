"""The token of the `yc` command's profile, for people at their own machines."""

from __future__ import annotations

import os
from typing import Final

from yagrpc.config import check_no_credential
from yagrpc.credentials.base import UNWANTED, AccessToken, FetchedCredentials, checked_flag
from yagrpc.credentials.commands import Ran, Stopped, run_command
from yagrpc.errors import ConfigError, UnavailableError
from yagrpc.foreign import cleaned
from yagrpc.hiding import hidden, shown, shown_path, without_secrets

_LONGEST: Final = 64 * 1024
"""Bytes that the command may write to a stream: it writes a token, and a notice at times."""

_PROFILE: Final = "the name of a profile of yc"


class YcCli(FetchedCredentials):
    """A profile of the `yc` command; the command is run whenever a token is needed.

    Args:
        profile: The profile's name; by default `YC_PROFILE`, then the active profile of `yc`.
        user: Whether the profile is of a user's account, as most are. The client then sends its folder as
            `x-folder-id`. `False` for the profile of a service account.
        command: The command, or its path.

    Raises:
        ConfigError: A setting is of the wrong kind, or the profile has the form of a credential.
    """

    def __init__(
        self, profile: str | None = None, *, user: bool = True, command: str | os.PathLike[str] = "yc"
    ) -> None:
        self.user_account = checked_flag("user", user)
        source = "profile" if profile is not None else "YC_PROFILE"
        self.profile = profile if profile is not None else os.environ.get("YC_PROFILE") or None
        check_no_credential(source, self.profile, _PROFILE)
        if self.profile is not None and not (isinstance(self.profile, str) and self.profile):
            raise ConfigError(f"{source} is {shown(self.profile)}: it takes {_PROFILE}, or None for the active one")
        command = os.fspath(command) if isinstance(command, os.PathLike) else command
        if not (isinstance(command, str) and command):
            raise ConfigError(f"command is {shown(command)}: it takes the name or the path of the command yc")
        self._command = command

    def fetch(self, timeout: float) -> AccessToken:
        """Run `yc iam create-token`; the last line of its output is the token (those before it may be notices).

        Args:
            timeout: Seconds until the command is killed.

        Raises:
            UnavailableError: The command did not end in time, or the client was closed.
            ConfigError: The command is not installed, or failed, or wrote without end.
        """
        ran = self._run(timeout)
        if ran.code != 0:
            reason = cleaned(without_secrets(ran.err.reveal().decode("utf-8", "replace"))[-200:]) or "it said nothing"
            raise ConfigError(f"{self._name} failed with exit code {ran.code}: {reason}")
        token = hidden(next(reversed(ran.out.reveal().decode("utf-8", "replace").split()), ""))
        if not token:
            raise ConfigError(f"{self._name} printed no token")
        return AccessToken(token.reveal())

    def __repr__(self) -> str:
        return f"YcCli(profile={shown(self.profile)})"

    @property
    def _name(self) -> str:
        return shown_path(f"{self._command} iam create-token")

    def _run(self, timeout: float) -> Ran:
        """What it said; an error has no cause, which may hold a part of that."""
        command = [self._command, "iam", "create-token", "--no-user-output"]
        if self.profile is not None:
            command += ["--profile", self.profile]
        failure: UnavailableError | ConfigError
        try:
            return run_command(command, timeout, _LONGEST, UNWANTED.get())
        except Stopped as stopped:
            text = f"{self._name} {stopped.why}"
            failure = UnavailableError(text, attempts=1) if stopped.late else ConfigError(text)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no name of a command"
            failure = ConfigError(f"{shown_path(self._command)} can't be run: {reason}")
        raise failure

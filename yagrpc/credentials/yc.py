"""The token of the `yc` command's profile, for people at their own machines."""

from __future__ import annotations

import os

from yagrpc.credentials.base import AccessToken, FetchedCredentials, without_secrets
from yagrpc.errors import ConfigError, UnavailableError


class YcCli(FetchedCredentials):
    """A profile of the `yc` command; the command is run whenever a token is needed.

    Args:
        profile: The profile's name; by default `YC_PROFILE`, then the active profile of `yc`.
        user: Whether the profile is of a user's account, as most are. The client then sends its folder as
            `x-folder-id`. `False` for the profile of a service account.
        command: The command, or its path.
    """

    def __init__(self, profile: str | None = None, *, user: bool = True, command: str = "yc") -> None:
        self.user_account = user
        self.profile = profile if profile is not None else os.environ.get("YC_PROFILE") or None
        self._command = command

    def fetch(self, timeout: float) -> AccessToken:
        """Run `yc iam create-token`; the last line of its output is the token (those before it may be notices).

        Args:
            timeout: Seconds until the command is killed.

        Raises:
            UnavailableError: The command did not end in time.
            ConfigError: The command is not installed, or failed.
        """
        import subprocess

        command = [self._command, "iam", "create-token", "--no-user-output"]
        if self.profile is not None:
            command += ["--profile", self.profile]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            text = f"'{self._command} iam create-token' did not end within {timeout:g} s"
            raise UnavailableError(text, attempts=1) from None
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no name of a command"
            raise ConfigError(f"'{self._command}' can't be run: {reason}") from None
        if done.returncode != 0:
            said = without_secrets(done.stderr.decode("utf-8", "replace"))[-200:] or "it said nothing"
            raise ConfigError(f"'{self._command} iam create-token' failed with exit code {done.returncode}: {said}")
        lines = done.stdout.decode("utf-8", "replace").split()
        if not lines:
            raise ConfigError(f"'{self._command} iam create-token' printed no token")
        return AccessToken(lines[-1])

    def __repr__(self) -> str:
        return f"YcCli(profile={self.profile!r})"

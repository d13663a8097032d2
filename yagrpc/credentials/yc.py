"""The token of the `yc` command's profile, for people at their own machines."""

from __future__ import annotations

import os

from yagrpc.config import check_no_credential
from yagrpc.credentials.base import AccessToken, FetchedCredentials
from yagrpc.errors import ConfigError, UnavailableError
from yagrpc.foreign import cleaned
from yagrpc.hiding import SecretBytes, SecretText, hidden, shown, shown_path, without_secrets


class YcCli(FetchedCredentials):
    """A profile of the `yc` command; the command is run whenever a token is needed.

    Args:
        profile: The profile's name; by default `YC_PROFILE`, then the active profile of `yc`.
        user: Whether the profile is of a user's account, as most are. The client then sends its folder as
            `x-folder-id`. `False` for the profile of a service account.
        command: The command, or its path.

    Raises:
        ConfigError: The profile has the form of a credential.
    """

    def __init__(self, profile: str | None = None, *, user: bool = True, command: str = "yc") -> None:
        self.user_account = user
        source = "profile" if profile is not None else "YC_PROFILE"
        self.profile = profile if profile is not None else os.environ.get("YC_PROFILE") or None
        check_no_credential(source, self.profile, "the name of a profile of yc")
        self._command = command

    def fetch(self, timeout: float) -> AccessToken:
        """Run `yc iam create-token`; the last line of its output is the token (those before it may be notices).

        Args:
            timeout: Seconds until the command is killed.

        Raises:
            UnavailableError: The command did not end in time.
            ConfigError: The command is not installed, or failed.
        """
        code, printed, said = self._run(timeout)
        if code != 0:
            reason = cleaned(without_secrets(said.reveal())[-200:]) or "it said nothing"
            raise ConfigError(f"{self._name} failed with exit code {code}: {reason}")
        token = hidden(next(reversed(printed.reveal().decode("utf-8", "replace").split()), ""))
        if not token:
            raise ConfigError(f"{self._name} printed no token")
        return AccessToken(token.reveal())

    def __repr__(self) -> str:
        return f"YcCli(profile={shown(self.profile)})"

    @property
    def _name(self) -> str:
        return shown_path(f"{self._command} iam create-token")

    def _run(self, timeout: float) -> tuple[int, SecretBytes, SecretText]:
        """Its exit code, and what it wrote to both streams; an error has no cause, which may hold a part of that."""
        import subprocess

        command = [self._command, "iam", "create-token", "--no-user-output"]
        if self.profile is not None:
            command += ["--profile", self.profile]
        failure: UnavailableError | ConfigError
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
            return done.returncode, hidden(done.stdout), hidden(done.stderr.decode("utf-8", "replace"))
        except subprocess.TimeoutExpired:
            failure = UnavailableError(f"{self._name} did not end within {timeout:g} s", attempts=1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no name of a command"
            failure = ConfigError(f"{shown_path(self._command)} can't be run: {reason}")
        raise failure

"""`yagrpc emulator`: the service emulated on this machine, for tests and for work without an account.

Rules: names, defaults and descriptions of the options are those of `EmulatorOptions`; here is only how an option is
written on a command line (`_FORMS`), and how its text becomes a value (`_read`).
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from yagrpc.cli.io.output import note, print_text
from yagrpc.cli.options import examples
from yagrpc.emulator.cloud.windows import QUOTA_MODELS
from yagrpc.emulator.options import EmulatorOptions, describe

if TYPE_CHECKING:
    from yagrpc.emulator import EmulatorServer

__all__ = ["ACCEPT", "emulator"]

ACCEPT: Final = "YAGRPC_EMULATOR_ACCEPT"
"""Where accepted credentials are read from: other users of the machine can read a command line."""

_DURATION: Final[Mapping[str, Any]] = {
    "metavar": "SECONDS|KIND:NUMBERS",
    "help": "The kinds: lognormal:MEDIAN,SIGMA, exponential:MEAN, uniform:LOW,HIGH, bimodal:SHORT,LONG,SHARE.",
}

_FORMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "port": {"type": click.IntRange(0, 65535)},
    "duration": _DURATION,
    "completion_duration": _DURATION,
    "replies": {
        "metavar": "MODULE:FUNCTION",
        "help": "On the command line: a function, which returns a reply, or None for an answer built from the request.",
    },
    "recording": {
        "type": click.Path(dir_okay=False),
        "metavar": "FILE",
        "help": "The file is a JSON list of {method, request, responses}.",
    },
    "state": {"type": click.Path(dir_okay=False), "metavar": "FILE"},
    "auth": {
        "type": click.Choice(["off", "present"]),
        "default": None,
        "help": f"A collection is read from {ACCEPT}, with commas between the credentials.  [default: off, or what "
        f"{ACCEPT} lists]",
    },
    "quota": {
        "is_flag": False,
        "flag_value": "",
        "metavar": "[NAME=NUMBER,...]",
        "help": "--quota alone enforces the documented quotas; with NAME=NUMBER others.",
    },
    "quota_model": {"type": click.Choice(QUOTA_MODELS)},
    "folder": {"metavar": "ID"},
    "seed": {"type": int},
    "rest": {
        "names": "--rest-port",
        "type": click.IntRange(0, 65535),
        "default": None,
        "metavar": "PORT",
        "help": "0 takes a free port. The URL of REST is printed after the address, and then that of the page.",
    },
    "tls": {"help": "The file with the authority's certificate is printed after the address."},
}
"""How options are written, where their declaration does not say it: parameters of `click.option`, with `help` added to
the description, and `names` instead of the option's own name."""

_SCRIPT: Final = click.option(
    "--script",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Scripted faults and replies, from a YAML file (needs the extra 'emulator').",
)


def _options() -> list[Callable[[Any], Any]]:
    """The command-line options, in the order of their declaration; faults come from a script."""
    texts = describe(EmulatorOptions)
    found = []
    for field in dataclasses.fields(EmulatorOptions):
        if field.name == "faults":
            found.append(_SCRIPT)
            continue
        form = {
            "default": field.default,
            "show_default": field.default is not None and field.default is not False,
            **_FORMS.get(field.name, {}),
        }
        if field.default is False and "names" not in form:
            form["is_flag"] = True
        elif isinstance(form["default"], float):
            form["default"] = f"{form['default']:g}"
        names = form.pop("names", f"--{field.name.replace('_', '-')}")
        description = f"{texts.get(field.name, '')} {form.pop('help', '')}".replace("`", "").strip()
        found.append(click.option(names, field.name, help=description, **form))
    return found


def _read(given: Mapping[str, Any]) -> EmulatorOptions:
    """The options as values.

    Raises:
        ValueError: One can't be read, or is out of its range.
        RuntimeError: A package that it needs is not installed.
    """
    from yagrpc.emulator import (
        Certificates,
        EmulatorScript,
        Recording,
        load_function,
        load_script,
        parse_duration,
        parse_quota,
    )

    given = dict(given)
    script, replies, recording = given.pop("script"), given["replies"], given["recording"]
    tls = Certificates(given["host"]) if given["tls"] else False
    scripted = EmulatorScript() if script is None else load_script(script)
    if replies is not None and scripted.replies is not None:
        raise ValueError("replies come from --script or from --replies, not from both")
    values = {
        "duration": parse_duration(given["duration"]),
        "completion_duration": parse_duration(given["completion_duration"]),
        "faults": scripted.faults,
        "replies": scripted.replies if replies is None else load_function(replies),
        "recording": None if recording is None else Recording.load(recording),
        "auth": _accepted() if given["auth"] is None else given["auth"],
        "quota": None if given["quota"] is None else parse_quota(given["quota"]),
        "tls": tls,
        "rest": False if given["rest"] is None else given["rest"] or True,
    }
    return EmulatorOptions(**{**given, **values})


def _accepted() -> str | list[str]:
    listed = [value.strip() for value in os.environ.get(ACCEPT, "").split(",") if value.strip()]
    return listed or "off"


def _print_addresses(server: EmulatorServer) -> None:
    print_text(server.address)
    if server.rest_address:
        print_text(f"{'http' if server.ca_file is None else 'https'}://{server.rest_address}")
    if server.ca_file is None:
        note(f"The emulator listens. To use it: export YAGRPC_EMULATOR_HOST={server.address}")
    else:
        print_text(server.ca_file)
        endpoints = f"--endpoint {server.address} --operation-endpoint {server.address}"
        options = f"--folder-id demo {endpoints} --ca {server.ca_file}"
        note(f"The emulator listens with TLS. To use it: export YC_API_KEY=any; yagrpc completion hi {options}")
    if server.page_url:
        note(f"Its page: {server.page_url}")


def _emulator(**given: Any) -> None:
    """Run an emulator of the service.

    It runs until Ctrl-C or SIGTERM. The first line of its output is its address, printed as soon as it listens; with
    --rest-port the next line is the URL of REST; with --tls the last line is the file with the certificate to trust.
    Programs that have YAGRPC_EMULATOR_HOST set to the
    address use the emulator. Credentials to accept are read from YAGRPC_EMULATOR_ACCEPT, with commas between them.
    """
    from yagrpc.emulator import run

    try:
        options = _read(given)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except RuntimeError as error:  # a package that scripts need is not installed
        raise click.ClickException(str(error)) from error
    try:
        run(options, on_ready=_print_addresses)
    except (RuntimeError, ValueError) as error:  # the port or the state file can't be used
        raise click.ClickException(str(error)) from error


emulator = click.command(
    "emulator",
    epilog=examples(
        "yagrpc emulator --duration 10",
        "yagrpc emulator --duration lognormal:20,1 --state operations.db --script faults.yaml",
        "YAGRPC_EMULATOR_ACCEPT='Api-Key abc,Bearer t1.def' yagrpc emulator --port 50051 --quota",
        "yagrpc emulator --quota submit_per_second=2,submit_per_hour=none",
        "yagrpc emulator --replies my_replies:answer",
        "yagrpc emulator --recording answers.json --tls",
        "yagrpc emulator --rest-port 8080",
    ),
)(functools.reduce(lambda command, option: option(command), reversed(_options()), _emulator))

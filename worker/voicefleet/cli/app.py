"""The verbs of `voicefleet`, and the one place where an error becomes words and an exit code."""

import logging
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated

import typer
from typer.exceptions import TyperException

import voicefleet
from voicefleet import errors
from voicefleet.cli import loading
from voicefleet.errors import EXIT_CODE_MEANINGS, ExitCode

HELP = "Host LiveKit voice agents so that no call is lost."

# Verb → what it does, for the list of all. Its function has the verb's name, in the module of that
# name; the docstring is the verb's own help. A module is imported only for its own verb, because
# LiveKit's framework takes seconds to import.
VERBS = {
    "start": "Serve calls until told to stop, then let every call end.",
    "dev": "Serve calls while you write the agent, with restarts.",
    "console": "Talk with an agent in this terminal, without keys.",
    "demo": "Place a real call on this machine, without keys.",
    "call": "Call an agent as a caller would, and say how it went.",
    "status": "Show the fleet: pods, calls, slots, drains.",
    "check": "Check everything that a start needs, with fixes.",
    "models": "Fetch the model files that an image must contain.",
    "settings": "Show every setting with its effective value.",
    "bench": "Place ten calls and show where the time goes.",
    "compare": "Run the same drills against LiveKit's own worker and ours.",
}

# These talk and listen, which takes the voice and the ears of the lab.
LAB_VERBS = {"console", "demo", "call", "bench", "compare"}


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and leave with its code; an error is one `error:` and one `fix:` line."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """The exit code of one verb.

    Never raises: an error that nobody foresaw has a code too.
    """
    verbose = bool({"-v", "--verbose"} & set(arguments[:1]))
    verb = next((word for word in arguments if word in VERBS), None)
    try:
        app = build(verb)
        result = app(args=arguments or ["--help"], prog_name="voicefleet", standalone_mode=False)
        return result if isinstance(result, int) else ExitCode.OK
    except TyperException as error:
        return _say(error.format_message(), "see --help", ExitCode.USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return ExitCode.INTERRUPTED
    except errors.SettingsError as error:
        for problem, fix in error.violations:
            _say(problem, fix, error.exit_code)
        return _traced(verbose, error.exit_code)
    except errors.VoicefleetError as error:
        _say(error.problem, error.fix, error.exit_code)
        return _traced(verbose, error.exit_code)
    except Exception as error:
        logging.getLogger(__name__).debug("unexpected error", exc_info=True)
        _say(
            f"{type(error).__name__}: {error}",
            "a defect of voicefleet: run again with -v and report it",
            ExitCode.UNEXPECTED,
        )
        return _traced(verbose, ExitCode.UNEXPECTED)


def build(verb: str | None) -> typer.Typer:
    """The command line with the one verb that will run; the others are listed for the help."""
    app = typer.Typer(
        name="voicefleet",
        help=HELP,
        epilog=exit_code_table(),
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, purpose in VERBS.items():
        function = _function(name) if name == verb else _unused
        app.command(name, short_help=purpose)(function)
    return app


def exit_code_table() -> str:
    rows = "\n\n".join(f"{int(code):>4}  {text}" for code, text in EXIT_CODE_MEANINGS.items())
    return f"Exit codes:\n\n{rows}"


def _function(verb: str) -> Callable[..., int | None]:
    if verb in LAB_VERBS:
        _require_lab()
    with loading.shown():
        module = import_module(f"voicefleet.cli.{verb}")
    function: Callable[..., int | None] = getattr(module, verb)
    return function


def _require_lab() -> None:
    """:raises ToolError: if voicefleet was installed without the lab."""
    missing = [name for name in ("pocketsphinx", "espeakng_loader") if find_spec(name) is None]
    if missing:
        raise errors.ToolError(
            f"the lab is not installed: {' and '.join(missing)} cannot be imported",
            fix="pip install 'voicefleet[lab]'",
        )


def _unused() -> None:
    """Stands for a verb that does not run."""


def _show_version(wanted: bool) -> None:
    if wanted:
        # The packages' metadata have it; LiveKit's framework takes seconds to import.
        print(f"voicefleet {voicefleet.__version__} (livekit-agents {version('livekit-agents')})")
        raise typer.Exit


def _options(
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show the traceback of an error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=_show_version,
            is_eager=True,
            help="Show the versions of voicefleet and LiveKit.",
        ),
    ] = False,
) -> None:
    """What goes before the verb; `run` reads `verbose` itself, so that it holds for every error."""


def _say(problem: str, fix: str, code: ExitCode) -> ExitCode:
    one_line = " ".join(problem.split())
    print(f"{errors.PROBLEM}{one_line}\n{errors.FIX}{fix}", file=sys.stderr)
    return code


def _traced(verbose: bool, code: ExitCode) -> ExitCode:
    if verbose:
        traceback.print_exc()
    return code

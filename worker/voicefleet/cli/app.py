"""The verbs of `voicefleet`, and the one place where an error becomes words and a code."""

import logging
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated

import typer
from typer.exceptions import TyperException

from voicefleet import errors
from voicefleet.errors import EXIT_CODE_MEANINGS, ExitCode


def require_lab() -> None:
    """:raises ToolError: if voicefleet was installed without its voice and ears."""
    missing = [name for name in ("pocketsphinx", "espeakng_loader") if find_spec(name) is None]
    if missing:
        raise errors.ToolError(
            f"the lab is not installed here: no {' and no '.join(missing)}",
            fix="pip install 'voicefleet[lab]'",
        )


HELP = "Host a LiveKit voice agent so that no call is lost."


def exit_code_table() -> str:
    rows = "\n\n".join(f"{int(code):>4}  {text}" for code, text in EXIT_CODE_MEANINGS.items())
    return f"Exit codes:\n\n{rows}"


# Verb → what it is for. Its function has the verb's name, in the module of that name; a module is
# imported only for its own verb, because LiveKit's framework takes seconds to import.
VERBS = {
    "start": "Serve calls until told to stop, then let every call end.",
    "dev": "Serve calls while you write the agent; restarts at a change.",
    "console": "Talk with an agent in this terminal, by text; without keys.",
    "demo": "A real call on this machine, without keys.",
    "call": "Call an agent, as a caller would, and say how it went.",
    "status": "The fleet: pods, calls, slots, and how far drains are.",
    "check": "The preflight: everything a start needs, with fixes.",
    "models": "Fetch the model files that an image must contain.",
    "settings": "Every setting with its effective value; secrets hidden.",
    "bench": "Ten calls one after the other, and where the time goes.",
    "compare": "The same drills against LiveKit's own worker and ours.",
}

# These talk and listen, for which an installation without the lab has neither voice nor ears.
LAB_VERBS = {"console", "demo", "call", "bench", "compare"}


def build(verb: str | None) -> typer.Typer:
    """The command line, with the one verb that will run; the others are there for the help."""
    app = typer.Typer(
        name="voicefleet",
        help=HELP,
        epilog=exit_code_table(),
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for name, purpose in VERBS.items():
        function = _function(name) if name == verb else _unused
        app.command(name, help=purpose)(function)
    return app


def _function(verb: str) -> Callable[..., int | None]:
    if verb in LAB_VERBS:
        require_lab()
    function: Callable[..., int | None] = getattr(import_module(f"voicefleet.cli.{verb}"), verb)
    return function


def _unused() -> None:
    """Stands for a verb that does not run."""


def _options(
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show the traceback of an error.")
    ] = False,
) -> None:
    """What goes before the verb; `run` looks at it itself, so that it holds for every error."""


def main(arguments: list[str] | None = None) -> None:
    """Run one verb and leave with its code; an error is one `error:` and one `fix:` line."""
    given = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(given))


def run(arguments: list[str]) -> int:
    """The exit code of one verb.

    Never raises: what no one foresaw is an error with a code too.
    """
    verbose = bool({"-v", "--verbose"} & set(arguments[:1]))
    verb = next((word for word in arguments if word in VERBS), None)
    try:
        result = build(verb)(args=arguments, standalone_mode=False)
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


def _say(problem: str, fix: str, code: ExitCode) -> ExitCode:
    one_line = " ".join(problem.split())
    print(f"error: {one_line}\nfix: {fix}", file=sys.stderr)
    return code


def _traced(verbose: bool, code: ExitCode) -> ExitCode:
    if verbose:
        traceback.print_exc()
    return code

"""What can be typed after `remoteobj`, and the help that teaches it."""

from __future__ import annotations

import argparse
import ast
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = ["ANSWER_SECONDS", "STOP_SECONDS", "parse", "value_of"]

ANSWER_SECONDS = 0.5
"""How long an actor has to answer: an interpreter needs time to start, and a user gets impatient
after a second."""
STOP_SECONDS = 10.0
"""How long it has to stop."""
_MOST_SECONDS = 1_000_000

_PROGRAM = """\
Look into the actors of your programs, order them about, and serve new ones.

NAME is the name of an actor, or the pid of its process, or its id, which
"ls --json" shows. One that begins with a dash stands after "--". All actors of
programs of this user are found, as soon as they are ready, without any
preparation.
"""
_EXAMPLES = """\
examples:
  remoteobj ls                              which actors there are
  remoteobj top                             the same, live, with keys
  remoteobj status front                    what front is doing now
  remoteobj stack front                     where in its code it is
  remoteobj interrupt front                 raise KeyboardInterrupt in its call
  remoteobj stop front                      stop it in order
  remoteobj attach front                    a Python prompt, with `actor`
  remoteobj attach front -c "actor.reset()"
  remoteobj serve camera:Camera --name front 0 fps=30
  remoteobj replay parser-1-...record       run what killed parser-1 again

"remoteobj VERB --help" tells more of each. "python -m remoteobj" is the same
as "remoteobj". Errors are one line, with exit code 1; wrong usage has exit
code 2.
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """What was typed, as `verb` and what that needs.

    Raises:
        SystemExit: it was `--help`, or it has no meaning, which has been told.
    """
    parser = _parser()
    typed, literal = list(argv), []
    if typed[:1] == ["serve"] and "--" in typed:
        at = typed.index("--")
        typed, literal = typed[:at], typed[at + 1 :]
    if not typed:
        parser.print_help(sys.stderr)
        raise SystemExit(2)
    asked, rest = parser.parse_known_args(typed)
    if asked.verb == "serve":
        # argparse takes arguments of an actor only where they stand in one row.
        asked.arguments += [one for one in rest if not _looks_like_an_option(one)] + literal
        rest = [one for one in rest if _looks_like_an_option(one)]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    return asked


def _looks_like_an_option(text: str) -> bool:
    return text.startswith("-") and isinstance(value_of(text), str) and text != "-"


def value_of(text: str) -> Any:
    """What was typed as a value: a literal of Python, if it is one, else a string.

    >>> value_of("1.5"), value_of("[1, 2]"), value_of("None"), value_of("weights.pt")
    (1.5, [1, 2], None, 'weights.pt')
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text


# ------------------------------------------------------------------ the verbs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="remoteobj",
        description=_PROGRAM,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, help="show the version, and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    _add_ls(verbs)
    _add_top(verbs)
    _add_orders(verbs)
    _add_attach(verbs)
    _add_serve(verbs)
    _add_replay(verbs)
    return parser


class _Version(argparse.Action):
    """Shows the version of the package, which is looked up only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version  # start-up

        print(f"remoteobj {version('remoteobj')}")
        parser.exit()


def _add(verbs: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=summary,
        description=textwrap.dedent(text).strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return made


def _add_ls(verbs: Any) -> None:
    ls = _add(
        verbs,
        "ls",
        "list all actors",
        """
        List all actors of your programs, one per line. None of them is asked, so
        that one that hangs is in the list, too.

        examples:
          remoteobj ls
          remoteobj ls --json | jq '.[] | select(.public).name'
          remoteobj ls --every 5               again and again, until Ctrl-C
        """,
    )
    ls.add_argument("--json", action="store_true", help="a list of JSON objects, for programs")
    ls.add_argument(
        "--every", type=_seconds, metavar="SECONDS", help="list them again and again, so often"
    )


def _add_top(verbs: Any) -> None:
    top = _add(
        verbs,
        "top",
        "a live table of all actors, with keys to look into them and end them",
        """
        Show all actors, what they are doing and what they use, until `q` is pressed.
        The key `?` explains the columns and the keys. It needs textual: pip install
        remoteobj[cli]

        examples:
          remoteobj top
          remoteobj top --every 2              look less often
        """,
    )
    top.add_argument(
        "--every",
        type=_seconds,
        default=0.5,
        metavar="SECONDS",
        help="look so often (default: %(default)s)",
    )


ORDERS = {
    "status": (
        "what an actor is doing now",
        """
        Show what an actor is doing now: its state, its call and for how long, and
        what waits; of several calls that run at once, each with its number. A busy
        actor answers at once. One that does not answer is stopped by a signal, or
        code in C holds its interpreter.

        example:
          remoteobj status front
        """,
    ),
    "stack": (
        "the stacks of an actor's threads",
        """
        Show the Python stacks of all threads of an actor's process: where it is in
        its code. If code in C holds its interpreter, a signal makes it tell; a sleep
        in that code, such as usleep, then ends early.

        example:
          remoteobj stack front
        """,
    ),
    "interrupt": (
        "raise KeyboardInterrupt in what an actor runs",
        """
        Raise KeyboardInterrupt in the call, or the work loop, that an actor runs; in
        all of them, if it runs several at once. The actor and its state stay, if its
        code lets them.

        examples:
          remoteobj interrupt front
          remoteobj interrupt front --call 3   that call alone: status has its number
        """,
    ),
    "stop": (
        "stop an actor in order",
        """
        Stop an actor in order: it runs the calls that have arrived, then its cleanup,
        and ends. One with restart="always" is started again by its owner, as is said
        then.

        examples:
          remoteobj stop front
          remoteobj stop front --timeout 60    it may take a minute
        """,
    ),
    "kill": (
        "end an actor's process at once",
        """
        End the process of an actor at once, without its cleanup. One with
        restart="always" or "on-failure" is started again by its owner, as is said
        then.

        example:
          remoteobj kill front
        """,
    ),
}
"""The verbs that take a name and no more: their summary, and their help."""


def _add_orders(verbs: Any) -> None:
    for name, (summary, text) in ORDERS.items():
        order = _add(verbs, name, summary, text)
        _add_name(order, STOP_SECONDS if name == "stop" else ANSWER_SECONDS)
        if name == "interrupt":
            order.add_argument(
                "--call", type=int, metavar="NUMBER", help="of the one call that is meant"
            )


def _add_name(parser: argparse.ArgumentParser, seconds: float) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        help="the name of an actor, its pid, or its id; one with a dash, such as -x: -- -x",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=seconds,
        metavar="SECONDS",
        help="how long it has to do that (default: %(default)s)",
    )


def _add_attach(verbs: Any) -> None:
    attach = _add(
        verbs,
        "attach",
        "a Python prompt, with an actor in it",
        """
        Open a Python prompt in which `actor` is a proxy of the actor: IPython's, if
        that is installed. Calls at the prompt wait their turn as all calls do.

        examples:
          remoteobj attach front
          remoteobj attach front -c "actor.exposure"
          remoteobj attach front -c "actor.exposure = 20"
        """,
    )
    _add_name(attach, ANSWER_SECONDS)
    attach.add_argument(
        "-c",
        "--command",
        metavar="CODE",
        help="run this instead of a prompt, and print its value, if it has one",
    )


_SERVE = """\
Make an actor that all your programs find by its name, and keep it until
Ctrl-C or SIGTERM comes. Then it ends in order: its cleanup runs, and the exit
code is 0. If its __init__, or its work loop, fails, the traceback is shown,
and the exit code is 1.

An ARGUMENT that is a literal of Python is that value: 0, 1.5, None, "[1, 2]";
anything else is a string, and so is what has quotes of its own: '"30"'.
NAME=VALUE is a keyword argument. Whatever stands after -- is no option.

Options of the class, as @remote(...) gives them, hold where nothing is typed.

examples:
  remoteobj serve camera:Camera --name front
  remoteobj serve camera:Camera --name front /dev/video0 fps=30
  remoteobj serve model:Model --restart on-failure -o spawn_timeout=None
then, in any program of yours:
  camera = remoteobj.connect("front")
"""


def _add_serve(verbs: Any) -> None:
    serve = _add(
        verbs,
        "serve",
        "run an actor in the foreground, until Ctrl-C or SIGTERM",
        _SERVE,
    )
    serve.add_argument("target", metavar="MODULE:CLASS", help="what to make; found from here")
    serve.add_argument("arguments", metavar="ARGUMENT", nargs="*", help="what to make it with")
    serve.add_argument(
        "--name", help="under which it is found (default: as @remote says, or the class)"
    )
    serve.add_argument(
        "--restart",
        choices=("never", "on-failure", "always"),
        help="whether it is started again when it has ended",
    )
    methods = ("fork", "spawn", "forkserver")
    serve.add_argument("--start-method", choices=methods, help="how its process is started")
    serve.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        type=_option,
        metavar="NAME=VALUE",
        dest="options",
        help="any other option of remoteobj.options(...); can be given many times",
    )


_REPLAY = """\
Run the requests of an actor again that has died: those that were recorded by
options(record="directory"), on a fresh object in this process, in the order in
which they began. It begins with the arguments of the class, or the state of
the last checkpoint. Each is printed with what came of it, and whether that is
as it was recorded. The last one, if it was running when the actor died, may
end this process, too: it is announced before it runs.

Other actors are not called: what the object calls of them raises
NotListeningError.

FILE is a pickle, and to run it runs the code that is in it. So it must be
yours, and nobody else may be able to write it. --list only reads it.

The exit code is 0 if all came out as it was recorded, 3 if something did not,
or if what killed the actor came through; 1 if it could not be run.

examples:
  remoteobj replay run/parser-1-20260301T101500-4711.record
  remoteobj replay FILE --list             what is in it, without running it
  remoteobj replay FILE --pdb              stop where the fatal one begins
  remoteobj replay FILE --until 12 --pdb   stop where number 12 begins
  remoteobj replay FILE --json | jq 'select(.same == false)'
"""


def _add_replay(verbs: Any) -> None:
    replay = _add(verbs, "replay", "run the recorded requests of a dead actor again", _REPLAY)
    replay.add_argument("file", metavar="FILE", help="the record; the error of the death names it")
    replay.add_argument("--until", type=int, metavar="N", help="end after the request of number N")
    replay.add_argument(
        "--pdb",
        action="store_true",
        help="stop under pdb at the first line of the last one that is run, and where it raises",
    )
    replay.add_argument("--list", action="store_true", help="show what is in it, and run nothing")
    replay.add_argument("--json", action="store_true", help="one JSON object per line")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < _MOST_SECONDS:
        raise argparse.ArgumentTypeError(
            f"must be more than 0 seconds, and less than {_MOST_SECONDS}"
        )
    return seconds


_seconds.__name__ = "seconds"  # which argparse calls it in its errors


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value_of(value)

"""How the documentation is built: ``make docs``."""

import tomllib
from pathlib import Path

from sphinx.application import Sphinx

# From the checkout, so that the pages can be built where the package is only on the path.
pyproject = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text("utf-8"))

project = "remoteobj"
author = "remoteobj contributors"
copyright = "2026, remoteobj contributors"
release = version = pyproject["project"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
html_static_path = ["_static"]
# Those with an underscore are no pages: another page includes them.
exclude_patterns = ["_build", "**/_*.md", "_*.md"]
html_theme = "furo"
html_title = "remoteobj"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Prompts are not part of what a reader wants to copy.
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Single backticks in docstrings are code; the default would be italics.
default_role = "code"
python_use_unqualified_type_names = True

# Type names of the standard library would need its inventory from the network (intersphinx), and
# those of private modules and type variables have no page on purpose. All other names must resolve.
nitpick_ignore_regex = [
    (r"py:.*", r"(asyncio|collections|concurrent|contextlib|inspect|logging|multiprocessing)\..*"),
    (r"py:.*", r"(os|pathlib|signal|threading|types|typing|typing_extensions)\..*"),
    (r"py:.*", r"remoteobj\.(_.*|.*\._.*)"),
    # As signatures are written.
    (
        r"py:class",
        r"AwaitableCall|Begin|ChildOptions|Context|End|ExitReason|Follower|Future|Groups?|Made|"
        r"ObserverPlan|Pacer|Part|Strategy|TracerProvider|Types|When",
    ),
    (r"py:(class|obj)", r"(.*\.)?([A-Z]|_[A-Za-z]+|P\.(args|kwargs))"),
]


# Else an argument whose name ends in an underscore, such as timeout_, would be shown without it.
strip_signature_backslash = True

# Napoleon takes what stands before a colon in the first line of an attribute's docstring for its
# type. These docstrings have no sections, so they are put back as they were.
as_written: dict[str, list[str]] = {}


def remember(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    if what in ("attribute", "property"):
        as_written[name] = list(lines)


def put_back(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    lines[:] = as_written.pop(name, lines)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", remember, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", put_back, priority=600)

"""The rules of the source tree, as functions over source text: `tests/test_architecture.py`.

A `Tree` maps the name of a module below the package (``_os.poller``, ``_proxy``, ``__init__``; of a
room, its own name: ``_os``) to its source. Every rule takes a tree and yields breaches.
"""

import ast
import functools
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

PACKAGE = "remoteobj"

# What each room may import, beside its own modules; `face` is all that lies in no other room.
ROOMS: dict[str, set[str]] = {
    "_fast_typing": set(),
    "_exit_report": set(),
    "errors": {"_exit_report"},
    "_os": {"errors"},
    "_pickling": {"_os", "errors"},
    "_protocol": {"_os", "errors"},
    "_wire": {"_protocol", "_os", "errors"},
    "_catching": {"_pickling", "_os", "errors"},
    "_engines": {"_wire", "_protocol", "_pickling", "_os", "errors"},
    "_caller": {"_catching", "_engines", "_wire", "_protocol", "_pickling", "_os", "errors"},
    "_actor": {"_catching", "_engines", "_wire", "_protocol", "_pickling", "_os", "errors"},
    "face": {"_actor", "_caller", "_catching", "_engines", "_wire", "_protocol", "_pickling"}
    | {"_os", "errors"},
    # Programs of ours that stand on the face as any other: nothing stands on them.
    "cli": {"face", "errors"},
    "__main__": {"cli"},
}
FOR_ALL = {"_fast_typing"}
"""What every room may import."""
SEAMS = {
    "_wire.transport": "Transport",
    "_engines.contract": "Engine",
    "_actor.execution": "Executor",
    "_protocol.requests": "Metadata",
    "_protocol.operations": "Operation",
}
"""Where what is to come is put in, and a name that the module has for it."""

MODULE_LINES = 400
FUNCTION_LINES = 40
FACE_LINES = 100
THREADS = {"Thread", "threading.Thread"}
FAST = {"NamedTuple", "Protocol"}
"""What `typing` makes slowly, and `_fast_typing` does not."""

Tree: TypeAlias = dict[str, str]
Rule: TypeAlias = Callable[[Tree], Iterator[str]]
Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def read(package: Path) -> Tree:
    tree = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        tree[".".join(parts)] = path.read_text("utf-8")
    return tree


def breaches(tree: Tree, rules: Iterable[Rule] | None = None) -> list[str]:
    """All rules; a tree without modules breaks them, since nothing would have been checked."""
    if not tree:
        return ["there are no modules"]
    chosen = RULES if rules is None else rules
    try:
        return [f"{breach}  [{rule.__name__}]" for rule in chosen for breach in rule(tree)]
    finally:
        nodes.cache_clear()


@functools.cache
def nodes(source: str) -> list[ast.AST]:
    """All that a module consists of; each of the rules asks for it, so it is kept meanwhile."""
    return list(ast.walk(ast.parse(source)))


# ------------------------------------------------------------------ what imports what


def room(module: str) -> str:
    first = module.partition(".")[0]
    return first if first in ROOMS else "face"


def imported(tree: Tree, module: str) -> Iterator[tuple[int, str]]:
    """(line, module) of every import from inside the package; also those in functions, and those
    for type checkers alone: a name that only a type needs is knowledge of that layer all the same.
    """
    is_package = any(other.startswith(f"{module}.") for other in tree)
    for node in nodes(tree[module]):
        if isinstance(node, ast.ImportFrom) and node.level:
            # "from ." means the package itself, if this is one, else the one it stands in.
            parts = [] if module == "__init__" else module.split(".")
            parts = parts[: len(parts) - node.level + is_package] if parts else []
            base = ".".join([*parts, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{base}.{alias.name}".strip(".")
                yield node.lineno, inner if inner in tree else base or "__init__"


def every_package_is_a_room(tree: Tree) -> Iterator[str]:
    for module in tree:
        package, _, name = module.partition(".")
        if name and package not in ROOMS:
            yield f"{module}: lies in {package}, which is no room"


def imports_come_from_below(tree: Tree) -> Iterator[str]:
    for module in tree:
        for line, other in imported(tree, module):
            here, there = room(module), room(other)
            if there not in ROOMS[here] | FOR_ALL | {here}:
                yield f"{module}:{line}: imports {other}, and {here} must not see {there}"


def rooms_say_what_they_are_for(tree: Tree) -> Iterator[str]:
    """A room's `__init__` is a docstring of at least three lines, and nothing else."""
    for module, source in tree.items():
        if module in ROOMS and any(other.startswith(f"{module}.") for other in tree):
            parsed = ast.parse(source)
            text = ast.get_docstring(parsed) or ""
            if len(parsed.body) != 1 or len(text.splitlines()) < 3:
                yield f"{module}: its __init__ is to say what the room is for, and nothing else"


def seams_have_their_contract_at_their_head(tree: Tree) -> Iterator[str]:
    for module, name in SEAMS.items():
        if module in tree:
            text = ast.get_docstring(ast.parse(tree[module])) or ""
            if "seam" not in text or len(text.splitlines()) < 5 or name not in tree[module]:
                yield f"{module}: has no contract of the seam {name} at its head"


def imports_form_no_cycle(tree: Tree) -> Iterator[str]:
    graph = {module: {other for _, other in imported(tree, module)} for module in tree}
    for module, others in graph.items():
        # A package's parts may stand on each other; that its face gathers them is no cycle.
        others.discard(module)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield " → ".join(reversed(error.args[1]))


def imports_inside_are_relative(tree: Tree) -> Iterator[str]:
    for module, source in tree.items():
        for node in nodes(source):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            if any(name.split(".")[0] == PACKAGE for name in names):
                yield f"{module}:{_line(node)}: imports {PACKAGE} by its name"


def imports_stand_at_the_top(tree: Tree) -> Iterator[str]:
    """Save where a comment says that the import is late for the sake of start-up time."""
    for module, source in tree.items():
        excused = {
            token.start[0]
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT and "start-up" in token.string
        }
        lines = {
            node.lineno
            for function in functions(source)
            for node in ast.walk(function)
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        for line in sorted(lines):
            if not excused & {line, line - 1}:
                yield f"{module}:{line}: an import inside a function"


# ------------------------------------------------------------------ privacy, and towers


def private_names_stay_in_their_module(tree: Tree) -> Iterator[str]:
    """As far as can be seen: what is read of another object is a name that this module defines,
    or one that no module of the package defines, of the standard library's, say."""
    defined = {module: set(_private_names(source)) for module, source in tree.items()}
    everywhere = set().union(*defined.values())
    for module, source in tree.items():
        for node in nodes(source):
            if isinstance(node, ast.ImportFrom) and node.level:
                for alias in node.names:
                    if _is_private(alias.name) and f"{alias.name}" not in _modules(tree):
                        yield f"{module}:{node.lineno}: imports {alias.name}"
            elif isinstance(node, ast.Attribute) and _is_private(node.attr):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                if not own and node.attr in everywhere - defined[module]:
                    yield f"{module}:{node.lineno}: reads {ast.unparse(node)}"


PUBLIC = {"_asdict", "_fields", "_make", "_replace"}  # of named tuples


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("_") and name not in PUBLIC


def _modules(tree: Tree) -> set[str]:
    return {part for module in tree for part in module.split(".")}


def _private_names(source: str) -> Iterator[str]:
    """The private names that a module defines, of its own, its classes or their objects."""
    for node in nodes(source):
        names: list[str] = []
        if isinstance(node, Function | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names = [node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            names = [node.attr] if own else []
        yield from filter(_is_private, names)


def bases_are_no_towers(tree: Tree) -> Iterator[str]:
    """A class of the package with a single subclass in it, that is never made itself, is one class
    cut into two. Protocols are no bases in that sense, and enums and tuples can't be made so."""
    classes, made = {}, set()
    subclasses: dict[str, list[str]] = {}
    for module, source in tree.items():
        for node in nodes(source):
            if isinstance(node, ast.ClassDef):
                classes[node.name] = (module, node)
                for base in node.bases:
                    subclasses.setdefault(ast.unparse(base).partition("[")[0], []).append(node.name)
            elif isinstance(node, ast.Call):
                made.add(ast.unparse(node.func).rpartition(".")[2])
                made.add(ast.unparse(node.func).partition(".")[0])
    for name, (module, node) in classes.items():
        protocol = any("Protocol" in ast.unparse(base) for base in node.bases)
        if len(subclasses.get(name, [])) == 1 and name not in made and not protocol:
            yield f"{module}:{node.lineno}: {name} is a base of {subclasses[name][0]} alone"


# ------------------------------------------------------------------ sizes


def functions(source: str) -> Iterator[Function]:
    for node in nodes(source):
        if isinstance(node, Function):
            yield node


def modules_are_short(tree: Tree) -> Iterator[str]:
    for module, source in tree.items():
        if (count := len(source.splitlines())) > MODULE_LINES:
            yield f"{module}: {count} lines, more than {MODULE_LINES}"


def functions_are_short(tree: Tree) -> Iterator[str]:
    """From ``def`` to the end, without the docstring: to explain must never cost code."""
    for module, source in tree.items():
        for function in functions(source):
            count = _span(function)
            if ast.get_docstring(function) is not None:
                count -= _span(function.body[0])
            if count > FUNCTION_LINES:
                where = f"{module}:{function.lineno}"
                yield f"{where}: {function.name} has {count} lines, more than {FUNCTION_LINES}"


def _line(node: ast.AST) -> int:
    """Where it stands, if it stands anywhere."""
    return int(getattr(node, "lineno", 0))


def _span(node: Function | ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


# ------------------------------------------------------------------ the face, and threads


def face_is_short(tree: Tree) -> Iterator[str]:
    if (count := len(tree.get("__init__", "").splitlines())) >= FACE_LINES:
        yield f"__init__: {count} lines, not under {FACE_LINES}"


def face_lists_its_names_sorted(tree: Tree) -> Iterator[str]:
    body = ast.parse(tree.get("__init__", "")).body
    lists = [node.value for node in body if isinstance(node, ast.Assign) and _is_all(node)]
    # A module that is still empty has no names to list.
    if body and len(lists) != 1:
        yield f"__init__: has {len(lists)} assignments to __all__"
    for value in lists:
        names = ast.literal_eval(value)
        if list(names) != sorted(set(names)):
            yield f"__init__: __all__ is not sorted: {', '.join(sorted(set(names)))}"


def _is_all(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


def threads_have_names(tree: Tree) -> Iterator[str]:
    for module, source in tree.items():
        for node in nodes(source):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in THREADS
                and "name" not in {keyword.arg for keyword in node.keywords}
            ):
                yield f"{module}:{node.lineno}: a thread without a name"


def time_is_monotonic(tree: Tree) -> Iterator[str]:
    """The wall clock jumps: what is for people to read asks for it by one function."""
    for module, source in tree.items():
        for node in nodes(source) if module != "_os.wall_clock" else ():
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "time.time",
                "time.time_ns",
            ):
                yield f"{module}:{node.lineno}: {ast.unparse(node)} is the wall clock"


# ------------------------------------------------------------------ the tests

PEEPHOLE = "internals"
"""The module of the tests that asks private parts of the package what other tests want to know."""
OF_ONE_MODULE = {
    "fake_channel",
    "hostile",
    "reference",
    "tcp_transport",
    "test_architecture",
    "test_async_streams",
    "test_atomic_stores",
    "test_call_limit",
    "test_codec",
    "test_begun_calls",
    "test_connection",
    "test_engines",
    "test_fast_call",
    "test_fast_typing",
    "test_flight_recorder",
    "test_frame_writer",
    "test_frames",
    "test_guardian",
    "test_job_threads",
    "test_journal",
    "test_labelled_output",
    "test_lean_future",
    "test_operation_table",
    "test_out_of_memory",
    "test_owner_line",
    "test_ray_line",
    "test_pacer",
    "test_processes",
    "test_exception_values",
    "test_exceptions",
    "test_tracebacks",
    "raising",
    "test_protocol",
    "test_publication",
    "test_reactor",
    "test_reentrancy_rules",
    "test_request_descriptions",
    "test_requests",
    "test_restart_limit",
    "test_restart_policy",
    "test_restart_strategy",
    "test_scripted_children",
    "test_rosters",
    "test_schedule",
    "test_shared_reader",
    "test_shared_terminal",
    "test_sharing",
    "test_sigpipe",
    "test_transports",
    "test_waiting_on_a_line",
}
"""Those that test one private module by itself, and what these compare it with."""
PRIVATE_IN_TEXT = re.compile(
    rf"\b{PACKAGE}[\w.]*\._[a-z]"  # a module, by its name
    rf"|\b{PACKAGE}[\w.]* import [^\n]*\b_[a-z]"
    r"|(?<!\bself)(?<!\bos)(?<!\bsys)\._[a-z]\w*"  # an attribute, in a program's source
)


def tests_use_the_public_face(tree: Tree) -> Iterator[str]:
    """As far as can be seen: what a module of the standard library has is its own business."""
    for module, source in tree.items():
        if module.split(".")[0] == PEEPHOLE or module.split(".")[-1] in OF_ONE_MODULE:
            continue
        foreign = set(_names_of_other_libraries(source)) | {"self", "cls"}
        for node in nodes(source):
            if what := _private(node, foreign):
                yield f"{module}:{_line(node)}: reaches for {what}"


def _names_of_other_libraries(source: str) -> Iterator[str]:
    for node in nodes(source):
        if isinstance(node, ast.Import | ast.ImportFrom):
            origin = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if (origin or alias.name).split(".")[0] not in (PACKAGE, "tests"):
                    yield alias.asname or alias.name.split(".")[0]


def _private(node: ast.AST, foreign: set[str]) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        origin = (node.module or "").split(".") if isinstance(node, ast.ImportFrom) else []
        for alias in node.names:
            path = [*origin, *alias.name.split(".")]
            if path[0] == PACKAGE and any(part.startswith("_") for part in path):
                return ".".join(path)
    elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and node.attr not in PUBLIC:
        is_ours = not (isinstance(node.value, ast.Name) and node.value.id in foreign)
        return ast.unparse(node) if is_ours and not node.attr.endswith("_") else None
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found = PRIVATE_IN_TEXT.search(node.value)
        return found[0] if found else None
    return None


def start_up_is_spared_slow_classes(tree: Tree) -> Iterator[str]:
    for module in tree.keys() - {"_fast_typing"}:
        for node in nodes(tree[module]):
            if isinstance(node, ast.ImportFrom) and node.module == "typing":
                for name in FAST.intersection(alias.name for alias in node.names):
                    yield f"{module}:{node.lineno}: takes {name} from typing, not _fast_typing"


def annotations_stay_texts(tree: Tree) -> Iterator[str]:
    """Where named tuples are made. From Python 3.14 on they are else not in a class's namespace."""
    for module, source in tree.items():
        origins = {node.module for node in nodes(source) if isinstance(node, ast.ImportFrom)}
        if "_fast_typing" in origins and "__future__" not in origins:
            yield f"{module}:1: has no `from __future__ import annotations`"


RULES: list[Rule] = [
    every_package_is_a_room,
    imports_come_from_below,
    rooms_say_what_they_are_for,
    seams_have_their_contract_at_their_head,
    private_names_stay_in_their_module,
    bases_are_no_towers,
    imports_form_no_cycle,
    imports_inside_are_relative,
    imports_stand_at_the_top,
    modules_are_short,
    functions_are_short,
    face_is_short,
    face_lists_its_names_sorted,
    threads_have_names,
    time_is_monotonic,
    start_up_is_spared_slow_classes,
    annotations_stay_texts,
]
TEST_RULES: list[Rule] = [tests_use_the_public_face]

"""What an actor has of the program's `__main__`: tested by scripts, each run by an interpreter.

One script has a class for each kind of value, and does with it what it is told to. It is run once
under each start method, and each test looks at one of its answers.
"""

import functools
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.test_start_methods import run

KINDS = '''
from __future__ import annotations
import abc, collections, contextvars, ctypes, dataclasses, enum, functools, inspect, json
import multiprocessing, pickle, sys, threading, traceback, typing, weakref
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from remoteobj import remote

METHOD = sys.argv[1]
ANSWERS = {}


def asks(question):
    """The question is put to an actor of its own; what it gives is the answer."""

    def answer():
        try:
            with Asked.options(start_method=METHOD).spawn() as actor:
                return question(actor)
        except BaseException as error:
            return "".join(traceback.format_exception(error))[-2000:]

    ANSWERS[question.__name__] = answer
    return question


@remote
class Asked:
    def do(self, func, *args):
        return func(self, *args)


# --- kinds of values

@functools.cache
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

@functools.singledispatch
def show(value):
    return "any"

@show.register
def _(value: int):
    return "int, " + show("")

class Private:
    __slots__ = ("__hidden", "shown", "__weakref__")

    def __init__(self):
        self.__hidden, self.shown = 3, 4

    def get(self):
        return self.__hidden

class Derived(Private):
    __slots__ = {"own": "described"}

    def __init__(self):
        super().__init__()
        self.own = 5

@dataclasses.dataclass(slots=True, frozen=True)
class Slim:
    x: int

class Properties:
    @functools.cached_property
    def value(self):
        return [5]

    @functools.lru_cache(maxsize=2)
    def cached(self):
        return object()

    @functools.singledispatchmethod
    def kind(self, value):
        return "any"

    @kind.register
    def _(self, value: int):
        return "int"

class Colour(enum.Enum):
    RED = 1

T = typing.TypeVar("T")
UserId = typing.NewType("UserId", int)
Pair = collections.namedtuple("Pair", "a b")

class Typed(typing.NamedTuple):
    a: int = 3

class Words(typing.TypedDict):
    a: int

class Box(typing.Generic[T]):
    pass

class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...

class Meta(type):
    def __new__(mcs, name, bases, names):
        return super().__new__(mcs, name, bases, {**names, "made": name})

class Made(metaclass=Meta):
    pass

class Registered:
    def __init_subclass__(cls):
        cls.title = cls.name.upper()

class Child(Registered):
    name = "child"

class Missing:
    def __reduce__(self):
        return "MISSING"

MISSING = Missing()
variable = contextvars.ContextVar("variable", default=5)
empty = contextvars.ContextVar("empty")
lock = threading.Lock()
weak = weakref.WeakValueDictionary()
count = 0
factor = 2

class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_int)]

class Either(ctypes.Union):
    _fields_ = [("a", ctypes.c_int), ("b", ctypes.c_float)]

class Packed(ctypes.Structure):
    _pack_ = 1
    _anonymous_ = ("either",)
    _fields_ = [("c", ctypes.c_char), ("many", Point * 2), ("either", Either)]

class Node(ctypes.Structure):
    pass

setattr(Node, "_fields_", [("value", ctypes.c_int), ("next", ctypes.POINTER(Node))])
Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)

class Hinted:
    near: OnlyNamed
    far: typing.Optional[Path]

    def method(self, one: OnlyNamed) -> Alias: ...

class Deep: ...

class OnlyNamed:
    deep: Deep

Alias = typing.List[OnlyNamed]

def square(n):
    return n * n

def scaled(n):
    return n * factor

def counted(self):
    global count
    count += 1
    return count

class Counter:
    def count(self):
        return counted(self)


# --- questions

@asks
def cached_functions(actor):
    return actor.do(lambda self: fib(30)) == 832040

@asks
def dispatch_by_type(actor):
    return actor.do(lambda self: [show(1), show("")]) == ["int, any", "any"]

@asks
def slots(actor):
    def look(self):
        made = Derived()
        try:
            made.more = 1
        except AttributeError:
            return made.get(), made.shown, made.own, weakref.ref(made)() is made
    return actor.do(look) == (3, 4, 5, True) and actor.do(lambda self: Derived()).get() == 3

@asks
def slots_of_dataclasses(actor):
    def look(self):
        try:
            object.__setattr__(Slim(5), "typo", 1)
        except AttributeError:
            return Slim(5)
    return actor.do(look) == Slim(5)

@asks
def decorated_methods(actor):
    def look(self):
        made = Properties()
        assert made.value is made.value
        assert made.cached() is made.cached()
        return made.kind(1), made.kind(""), Properties.cached.cache_parameters()["maxsize"]
    return actor.do(look) == ("int", "any", 2)

@asks
def typing_s_own(actor):
    def look(self):
        assert UserId(5) == 5
        assert Box[int].__args__ == (int,)
        assert Words(a=1) == {"a": 1}
        return Pair(1, 2), Typed(), UserId
    return actor.do(look) == (Pair(1, 2), Typed(3), UserId)

@asks
def abstract_classes(actor):
    def look(self):
        class Square(Shape):
            def area(self):
                return 4
        try:
            Shape()
        except TypeError:
            return Square().area()
    return actor.do(look) == 4

@asks
def metaclasses(actor):
    return actor.do(lambda self: [Made().made, Child.title]) == ["Made", "CHILD"]

@asks
def singletons(actor):
    return actor.do(lambda self: [MISSING, Colour.RED]) == [MISSING, Colour.RED]

@asks
def context_variables(actor):
    def set_them(self):
        empty.set([variable.get()])
        variable.set(6)
    def look(self):
        return variable.get(), empty.get(), variable.name
    actor.do(set_them)
    return actor.do(look) == (6, [5], "variable")

@asks
def one_lock_in_all_functions(actor):
    actor.do(lambda self: lock.acquire())
    return actor.do(lambda self: lock.locked()) and not lock.locked()

@asks
def weak_dictionaries(actor):
    return actor.do(lambda self: len(weak)) == 0

@asks
def structures_of_ctypes(actor):
    def look(self):
        packed = Packed(b"c", (Point(1, 2), Point(3, 4)), (5,))
        node = Node(1, ctypes.pointer(Node(2)))
        called = Callback(lambda n: n + 1)(3)
        return packed.many[1].y, packed.a, ctypes.sizeof(Packed), node.next[0].value, called
    got = actor.do(lambda self: Point(3, 4))
    assert type(got) is Point and got.y == 4
    return actor.do(look) == (4, 5, 21, 2, 4)

@asks
def values_of_sys(actor):
    found = actor.do(lambda self: [sys.version_info, sys.flags, sys.float_info])
    return found == [sys.version_info, sys.flags, sys.float_info]

@asks
def pickles_by_name(actor):
    def look(self, *values):
        return [pickle.loads(pickle.dumps(one)) == one for one in values]
    values = Slim(1), Pair(1, 2), Colour.RED, square, fib, MISSING, UserId
    return all(actor.do(look, *values)) and len(actor.do(look, *values)) == 7

@asks
def pools(actor):
    def squares(self, method):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return list(pool.map(square, [1, 2]))
    return actor.do(squares, "fork") == actor.do(squares, "spawn") == [1, 4]

@asks
def type_hints(actor):
    def look(self):
        hints = typing.get_type_hints
        return hints(Hinted), hints(Hinted.method), hints(OnlyNamed)
    with remote(Hinted).options(start_method=METHOD).spawn() as hinted:
        found = hinted.passto(look)
    return found == (
        {"near": OnlyNamed, "far": typing.Optional[Path]},
        {"one": OnlyNamed, "return": Alias},
        {"deep": Deep},
    )

@asks
def sources(actor):
    def look(self):
        return inspect.getsource(Slim), inspect.getsource(scaled), self.do.__code__.co_filename
    here = inspect.getsource(Slim), inspect.getsource(scaled), __file__
    return actor.do(look) == here

@asks
def variables_of_the_actor_are_its_own(actor):
    global count
    with remote(Counter).options(start_method=METHOD).spawn() as counter:
        counts = [counter.count(), counter.count()]
        count = 10
        counts += [counter.passto(lambda self: count), counter.count()]
    count = 0
    return counts == [1, 2, 10, 3]

@asks
def functions_bring_the_values_that_they_read(actor):
    global factor
    before = actor.do(lambda self: scaled(1))
    factor = 7
    after = actor.do(lambda self: scaled(1))
    factor = 2
    return (before, after) == (2, 7)

@asks
def classes_of_later(actor):
    global Later
    Later = type("Later", (), {})
    return actor.do(lambda self: type(pickle.loads(pickle.dumps(Later()))).__name__) == "Later"

if __name__ == "__main__":
    print(json.dumps({name: answer() for name, answer in ANSWERS.items()}, default=repr))
'''

QUESTIONS = [
    line.removeprefix("def ").partition("(")[0]
    for before, line in zip(KINDS.splitlines(), KINDS.splitlines()[1:], strict=False)
    if before == "@asks"
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Any:
    script = tmp_path_factory.mktemp("kinds") / "kinds.py"
    script.write_text(KINDS)

    @functools.cache
    def of(start_method: str) -> Any:
        printed = subprocess.run(
            [sys.executable, str(script), start_method],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        return json.loads(printed.stdout)

    return of


@pytest.mark.timeout(120)  # the first of each start method waits for all answers
@pytest.mark.parametrize("question", QUESTIONS)
def test_an_actor_of_a_script_can_use(question: str, start_method: str, answers: Any) -> None:
    assert answers(start_method)[question] is True, answers(start_method)[question]


# ------------------------------------------------------------------ what can't go by value

STUCK = """
import os, sys, threading
from remoteobj import UnsendableError, remote, util

METHOD = sys.argv[1]
file = open(os.devnull, "w")

class Meta(type):
    def __new__(mcs, name, bases, names):
        return super().__new__(mcs, name, bases, {**names, "lock": threading.Lock()})

class Row(metaclass=Meta):
    def __init__(self, x):
        self.x = x

def helper():
    return file.name

@remote
class Writer:
    def write(self):
        return helper()
    def row(self):
        return Row(5)
    def take(self, row):
        return type(row) is Row and row.x
    def call(self, func):
        return func()

def locked():
    return Row.lock.locked()
"""


def script(tmp_path: Path, source: str) -> str:
    path = tmp_path / "script.py"
    path.write_text(STUCK + "if __name__ == '__main__':\n" + textwrap.indent(source, "    "))
    return str(path)


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_the_error_names_the_variable_that_can_t_travel_and_the_way_out(
    method: str, tmp_path: Path
) -> None:
    source = """\
try:
    Writer.options(start_method=METHOD).spawn()
except UnsendableError as error:
    print(error)
"""
    said = run(script(tmp_path, source), method, cwd=tmp_path)
    assert "class.write global 'helper' of __main__ global 'file' of __main__ can't be" in said
    assert "The variable 'file' of __main__" in said
    assert 'main="import"' in said


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_the_error_names_the_class_that_can_t_travel_and_the_way_out(
    method: str, tmp_path: Path
) -> None:
    source = """\
try:
    remote(Row).options(start_method=METHOD).spawn(5)
except UnsendableError as error:
    print(error)
"""
    said = run(script(tmp_path, source), method, cwd=tmp_path)
    assert ".lock can't be sent to another process: it is of type _thread.lock" in said
    assert "The class 'Row' of __main__ goes along with all that it has" in said
    assert 'main="import"' in said


USE_OF_STUCK = """\
with Writer.options(start_method=METHOD, main={main!r}).spawn() as writer:
    assert writer.write() == os.devnull
    row = writer.row()
    assert type(row) is Row and row.x == 5
    assert writer.take(Row(6)) == 6
    assert writer.call(locked) is False
    assert writer.passto(lambda writer: file.name) == os.devnull
    assert writer.passto(lambda writer: locked()) is False
with util.process(helper, start_method_=METHOD, main_={main!r}) as process:
    pass
print(process.result == os.devnull)
"""


def test_an_actor_that_imports_the_script_finds_it_all_by_name(
    start_method: str, tmp_path: Path
) -> None:
    path = script(tmp_path, USE_OF_STUCK.format(main="import"))
    assert run(path, start_method, cwd=tmp_path) == "True\n"
    assert run("-m", "script", start_method, cwd=tmp_path) == "True\n"


def test_between_forks_what_can_t_be_pickled_is_only_named(tmp_path: Path) -> None:
    path = script(tmp_path, USE_OF_STUCK.format(main="value"))
    assert run(path, "fork", cwd=tmp_path) == "True\n"


def test_between_forks_that_holds_for_what_is_local_to_a_function_too(tmp_path: Path) -> None:
    source = """\
def make():
    class Local(metaclass=Meta):
        def __init__(self, x):
            self.x = x
    lock = threading.Lock()
    def free():
        return not lock.locked()
    @remote
    class Keeper:
        def make(self):
            return Local(5)
        def take(self, local):
            return type(local) is Local
        def func(self):
            return free
        def call(self, func):
            return func()
    return Local, free, Keeper
Local, free, Keeper = make()
with Keeper.options(start_method="fork").spawn() as keeper:
    assert type(keeper.make()) is Local
    assert keeper.take(Local(3))
    assert keeper.func() is free
    print(keeper.call(free))
"""
    assert run(script(tmp_path, source), "fork", cwd=tmp_path) == "True\n"


def test_a_class_that_a_fork_does_not_know_is_a_definite_error(tmp_path: Path) -> None:
    source = """\
with Writer.options(start_method="fork").spawn() as writer:
    class Late(metaclass=Meta):
        pass
    try:
        writer.take(Late())
    except UnsendableError as error:
        print("Late" in str(error))
    assert writer.take(Row(1)) == 1
"""
    assert run(script(tmp_path, source), "fork", cwd=tmp_path) == "True\n"


def test_a_script_without_a_guard_can_t_be_imported_and_that_is_the_error_of_spawn(
    tmp_path: Path,
) -> None:
    (tmp_path / "bare.py").write_text(
        "from remoteobj import remote\n"
        "@remote(start_method='spawn', main='import')\n"
        "class Empty: pass\n"
        "try:\n"
        "    Empty.spawn()\n"
        "except RuntimeError as error:\n"
        "    if 'freeze_support' not in str(error): raise\n"
        "    if __name__ == '__main__': print('refused')\n"
        "    else: raise\n"
    )
    assert run("bare.py", cwd=tmp_path) == "refused\n"


def test_where_there_is_no_script_to_import_spawn_says_so(tmp_path: Path) -> None:
    source = (
        "from remoteobj import remote\n"
        "@remote(start_method='spawn', main='import')\n"
        "class Empty: pass\n"
        "try:\n"
        "    Empty.spawn()\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    assert "needs a script" in run("-c", source, cwd=tmp_path)


def test_another_way_for_main_is_refused(tmp_path: Path) -> None:
    source = "try: util.process(max, 1, main_='copy').start()\nexcept ValueError as e: print(e)\n"
    assert "'copy' is none of value, import" in run(script(tmp_path, source), "x", cwd=tmp_path)


# ------------------------------------------------------------------ files and lines

FAILING = """
import sys, traceback
from remoteobj import remote

@remote
class Divider:
    def divide(self, x):
        return 1 / x

def use():
    with Divider.options(start_method=sys.argv[1]).spawn() as divider:
        try:
            divider.divide(0)
        except ZeroDivisionError:
            print(traceback.format_exc())
        try:
            divider.passto(lambda d: d.missing.name)
        except AttributeError:
            print(traceback.format_exc())
        print(divider.passto(lambda d: __import__("linecache").getline(FILE, 8)))
"""


def test_tracebacks_show_file_line_and_place(start_method: str, tmp_path: Path) -> None:
    path = tmp_path / "failing.py"
    path.write_text(f"{FAILING}\nFILE = __file__\nif __name__ == '__main__':\n    use()\n")
    printed = run(str(path), start_method, cwd=tmp_path)
    assert f'File "{path}", line 8, in divide\n    return 1 / x\n           ~~^~~' in printed
    assert f'File "{path}", line 17, in <lambda>\n' in printed
    assert "divider.passto(lambda d: d.missing.name)\n" in printed


def test_lines_that_only_this_process_knows_are_readable_in_the_actor(
    start_method: str, tmp_path: Path
) -> None:
    path = tmp_path / "kernel.py"
    path.write_text(
        "import linecache, sys\n"
        f"text = {FAILING!r}\n"
        "FILE = '<cell 1>'\n"
        "lines = text.splitlines(keepends=True)\n"
        "linecache.cache[FILE] = len(text), None, lines, FILE\n"
        "exec(compile(text, FILE, 'exec'), globals())\n"
        "use()\n"
    )
    printed = run(str(path), start_method, cwd=tmp_path)
    assert 'File "<cell 1>", line 8, in divide\n    return 1 / x\n' in printed
    assert printed.endswith("        return 1 / x\n\n")


# ------------------------------------------------------------------ what else is as it is here

AS_IT_IS = """
import os, sys, warnings
from remoteobj import remote

class Odd(UserWarning):
    pass

@remote
class Looker:
    def look(self):
        import beside
        return beside.WORD, os.getcwd(), os.environ.get("NEW"), os.environ.get("OLD")
    def warn(self, category):
        try:
            warnings.warn("w", category)
        except Warning:
            return True

if __name__ == "__main__":
    import multiprocessing
    method, where = sys.argv[1:]
    spawner = Looker.options(start_method=method)
    os.environ["OLD"] = "1"
    sys.path.insert(0, "below")
    with spawner.spawn() as looker:
        print(looker.look()[0])
    os.chdir(where)
    os.environ["NEW"] = "2"
    del os.environ["OLD"]
    warnings.simplefilter("ignore")
    warnings.filterwarnings("error", category=Odd)
    with spawner.spawn() as looker:
        print(looker.look() == ("there", os.getcwd(), "2", None))
        print(looker.warn(Odd), looker.warn(UserWarning))
    sys.path[0] = ""
    os.chdir("below")
    with spawner.spawn() as looker:
        print(looker.look()[0])
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_directory_paths_environment_and_filters_are_as_they_are_at_spawn(
    method: str, tmp_path: Path
) -> None:
    for place, word in [("here", "here"), ("elsewhere", "there")]:
        below = tmp_path / place / "below"
        below.mkdir(parents=True)
        (below / "beside.py").write_text(f"WORD = {word!r}\n")
    path = tmp_path / "looker.py"
    path.write_text(AS_IT_IS)
    printed = run(str(path), method, str(tmp_path / "elsewhere"), cwd=tmp_path / "here")
    assert printed == "here\nTrue\nTrue None\nthere\n"

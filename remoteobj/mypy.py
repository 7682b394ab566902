"""A plugin by which mypy knows what `@remote` adds to a class. In your `pyproject.toml`::

    [tool.mypy]
    plugins = ["remoteobj.mypy"]

mypy takes no notice of what a decorator makes of a class. With the plugin `Cls.spawn`, and that of
`Cls.options(...)`, have the parameters of the class's constructor, those of its subclasses have
theirs, and within the class there is `self.remote`.

What is spawned so is a `Handle[Cls]`, and `with` gives the `Cls`, as with `remoteobj.spawn`. Code
that is written to the proxy itself, `counter.value.__` or `counter.stop_()`, is an error there. The
modules that are written so can be listed; there `with` gives an `Any`::

    [tool.remoteobj-mypy]
    proxies = ["app.*", "!app.core"]

The last pattern that fits a module holds; one that begins with `!` takes it out again.
"""

from __future__ import annotations

import configparser
import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, cast

from mypy.checker import TypeChecker
from mypy.nodes import Context, FuncDef, TypeInfo
from mypy.options import Options
from mypy.plugin import (
    AttributeContext,
    CheckerPluginInterface,
    ClassDefContext,
    MethodSigContext,
    Plugin,
    ReportConfigContext,
)
from mypy.plugins.common import add_attribute_to_class
from mypy.types import (
    AnyType,
    CallableType,
    FunctionLike,
    Instance,
    Overloaded,
    ProperType,
    Type,
    TypeOfAny,
    TypeType,
    TypeVarType,
    get_proper_type,
)

__all__ = ["RemoteObjPlugin", "plugin"]

DECORATOR: Final = "remoteobj._remote.remote"
PROXY: Final = "remoteobj._proxy.Proxy"
HANDLE: Final = "remoteobj._handle.Handle"
CLASS_SPAWNER: Final = "remoteobj._remote.ClassSpawner"
OPTIONS: Final = "remoteobj._spawn.options"

DECORATED: Final = "remoteobj"
"""The key among the metadata of a class that says that it is decorated."""


def plugin(version: str) -> type[Plugin]:
    """What mypy asks a plugin's module for."""
    return RemoteObjPlugin


class RemoteObjPlugin(Plugin):
    """`spawn`, `options` and `remote` of decorated classes."""

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._proxies = proxies_setting(options.config_file)

    def report_config_data(self, ctx: ReportConfigContext) -> Any:
        """What makes mypy check a module again when it has changed."""
        return self._gives_proxies(ctx.id)

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        """Called for a decorator; gives what adds the names to the class."""
        return _add_names if fullname == DECORATOR else None

    def get_class_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        """Called for an attribute of any class; gives what finds the type of one of ours."""
        ours = {"spawn": self._spawn, "options": self._options}
        return ours.get(fullname.rpartition(".")[2])

    def get_method_signature_hook(
        self, fullname: str
    ) -> Callable[[MethodSigContext], FunctionLike] | None:
        """Called for any method; gives what finds the signature of `Cls.options(...).spawn`."""
        return self._spawn_of_spawner if fullname == f"{CLASS_SPAWNER}.spawn" else None

    def _spawn(self, ctx: AttributeContext) -> Type:
        constructor = _constructor(ctx.type, "spawn", ctx)
        if constructor is None:
            return ctx.default_attr_type
        return self._made_spawn(constructor, ctx.api)

    def _options(self, ctx: AttributeContext) -> Type:
        constructor = _constructor(ctx.type, "options", ctx)
        taken = self._node(OPTIONS, FuncDef).type
        if constructor is None or not isinstance(taken, CallableType):
            return ctx.default_attr_type
        made = _without_variables(constructor.items[0])
        return taken.copy_modified(ret_type=Instance(self._node(CLASS_SPAWNER, TypeInfo), [made]))

    def _spawn_of_spawner(self, ctx: MethodSigContext) -> FunctionLike:
        if isinstance(ctx.type, Instance) and ctx.type.type.fullname == CLASS_SPAWNER:
            constructor = _callee(get_proper_type(ctx.type.args[0]), ctx.api, ctx.context)
            if constructor is not None:
                return self._made_spawn(constructor, ctx.api)
        return ctx.default_signature

    def _made_spawn(self, constructor: FunctionLike, api: CheckerPluginInterface) -> FunctionLike:
        """The signature of a constructor, but for what it gives: a handle."""
        handle = self._node(HANDLE, TypeInfo)
        function = api.named_generic_type("builtins.function", [])
        proxies = self._gives_proxies(cast(TypeChecker, api).tree.fullname)
        made = [
            one.copy_modified(
                ret_type=Instance(handle, [_any() if proxies else one.ret_type]),
                fallback=function,
                name="spawn",
            )
            for one in constructor.items
        ]
        return made[0] if len(made) == 1 else Overloaded(made)

    def _gives_proxies(self, module: str) -> bool:
        fits = [p for p in self._proxies if fnmatchcase(module, p.removeprefix("!"))]
        return bool(fits) and not fits[-1].startswith("!")

    def _node(self, fullname: str, kind: type[Any]) -> Any:
        """What the package defines under this name. Whoever has a decorated class has imported it.

        Raises:
            LookupError: the package is not the one that this plugin belongs to.
        """
        symbol = self.lookup_fully_qualified(fullname)
        if symbol is None or not isinstance(symbol.node, kind):
            raise LookupError(f"mypy finds no {fullname}: the plugin is that of another version")
        return symbol.node


def _add_names(ctx: ClassDefContext) -> bool:
    info = ctx.cls.info
    info.metadata[DECORATED] = {}
    for name in ("spawn", "options"):
        if info.get(name) is None:  # a method of the class's own stays what its objects have
            add_attribute_to_class(ctx.api, ctx.cls, name, _any(), is_classvar=True)
    proxy = ctx.api.named_type_or_none(PROXY)
    if info.get("remote") is None and proxy is not None:
        add_attribute_to_class(ctx.api, ctx.cls, "remote", proxy)
    return True


def _any() -> AnyType:
    return AnyType(TypeOfAny.special_form)


def _constructor(kind: ProperType, name: str, ctx: AttributeContext) -> FunctionLike | None:
    """The signature by which objects of a class are made that has this name from `@remote`; None
    for any other class."""
    if isinstance(kind, FunctionLike) and kind.is_type_obj():
        return kind if _has_ours(kind.type_object(), name) else None
    if not isinstance(kind, TypeType):
        return None
    item = get_proper_type(kind.item)
    bound = get_proper_type(item.upper_bound) if isinstance(item, TypeVarType) else item
    if not isinstance(bound, Instance) or not _has_ours(bound.type, name):
        return None
    return _callee(item, ctx.api, ctx.context)


def _callee(item: ProperType, api: CheckerPluginInterface, context: Context) -> FunctionLike | None:
    """The signature by which an object of this type is made."""
    checker = cast(TypeChecker, api).expr_checker
    made = get_proper_type(checker.analyze_type_type_callee(item, context))
    return made if isinstance(made, FunctionLike) else None


def _has_ours(info: TypeInfo, name: str) -> bool:
    """Whether the class has this name from `@remote`, and from no subclass of what is decorated."""
    found = next((base for base in info.mro if name in base.names), None)
    return found is not None and DECORATED in found.metadata


def _without_variables(constructor: CallableType) -> Type:
    """What it makes, of a generic class with `Any` for each of its variables."""
    made = get_proper_type(constructor.ret_type)
    if constructor.variables and isinstance(made, Instance):
        return Instance(made.type, [_any() for _ in made.args])
    return made


# --- the setting ---------------------------------------------------------------------------


def proxies_setting(config_file: str | None) -> list[str]:
    """The patterns of modules in which `with` gives a proxy, from the file that mypy reads.

    Raises:
        ValueError: there is a setting of another name, or it is no list of strings.
    """
    section = _section(Path(config_file)) if config_file else {}
    if unknown := section.keys() - {"proxies"}:
        raise ValueError(f"remoteobj-mypy has no setting {', '.join(sorted(unknown))}, but proxies")
    patterns = section.get("proxies", [])
    if isinstance(patterns, str):
        patterns = patterns.replace(",", " ").split()
    if not (isinstance(patterns, list) and all(isinstance(one, str) for one in patterns)):
        raise ValueError(f"proxies of remoteobj-mypy is a list of patterns, not {patterns!r}")
    return patterns


def _section(path: Path) -> dict[str, Any]:
    if path.suffix == ".toml":
        tools = tomllib.loads(path.read_text("utf-8")).get("tool", {})
        return dict(tools.get("remoteobj-mypy", {}))
    parser = configparser.RawConfigParser()
    parser.read(path, "utf-8")
    return dict(parser["remoteobj-mypy"]) if "remoteobj-mypy" in parser else {}

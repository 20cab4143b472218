"""The settings of a recommender and their defaults, read from the source of its module.

Importing the module would import torch, which takes longer than all else that lists models.
"""

from __future__ import annotations

import ast
from importlib.util import resolve_name
from typing import Any, NamedTuple

from mmx.errors import RunError
from mmx.own.code import source_file

CLASS = "Config"
SOLVED = "ClosedModel"  # of mmx.recommend.protocol


def defaults_of(module: str) -> dict[str, Any]:
    """Each field of the module's Config and its default, in the order of ``dataclasses.fields``.

    A default that is not a literal is the text of its expression. Raises RunError when there is
    no such module, or it has no source or no Config.
    """
    return _Source(module).fields(CLASS)


class Outline(NamedTuple):
    """What the source of a model says of it."""

    title: str  # first line of the docstring
    facts: dict[str, Any]  # keywords of its Facts
    closed_form: bool
    settings: dict[str, Any]


def outline_of(module: str, name: str) -> Outline:
    """Of the class ``name``, or of the whole module where it is empty. Raises RunError.

    Nothing is imported; what is made by a program and not written down is not seen.
    """
    return _Source(module).outline(name)


class _Source:
    """The syntax tree of a module."""

    def __init__(self, module: str) -> None:
        file = source_file(module)
        if file is None:
            raise RunError(f"no source file of the module {module}; check its name")
        self.module = module
        self.package = module if file.stem == "__init__" else module.rpartition(".")[0]
        try:
            self.tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError) as error:
            raise RunError(f"{file} cannot be read: {error}") from error
        self.body = self.tree.body

    def outline(self, name: str) -> Outline:
        """See ``outline_of``."""
        node = self._class(name)
        if name and node is None:
            raise RunError(f"{self.module} has no class {name}")
        inner = self._config_of(node) if node else None
        settings = _own(inner) if inner else self.fields(CLASS)
        owner = node or self.tree
        title = (ast.get_docstring(owner) or name or self.module).partition("\n")[0]
        solved = self._is(node, SOLVED) if node else any(_is_fit(one) for one in self.body)
        return Outline(title, _facts(owner), solved, settings)

    def _config_of(self, node: ast.ClassDef) -> ast.ClassDef | None:
        """A Config inside of the class."""
        inner = (one for one in node.body if isinstance(one, ast.ClassDef) and one.name == CLASS)
        return next(inner, None)

    def _is(self, node: ast.ClassDef, base: str) -> bool:
        """Whether a class inherits from ``base``, as far as this module says."""
        names = [getattr(one, "id", getattr(one, "attr", "")) for one in node.bases]
        known = [found for one in names if (found := self._class(one)) is not None]
        return base in names or any(self._is(one, base) for one in known if one is not node)

    def fields(self, name: str) -> dict[str, Any]:
        """Those of a dataclass and of the dataclasses that it inherits from."""
        node = self._class(name)
        if node is None:
            raise RunError(f"{self.module} has no class {name}; see mmx.recommend.protocol")
        found: dict[str, Any] = {}
        for base in reversed(node.bases):
            if isinstance(base, ast.Name):
                found |= self._inherited(base.id)
        return found | (_own(node) if _is_dataclass(node) else {})

    def _inherited(self, name: str) -> dict[str, Any]:
        """Fields of a base class, which is in this module or imported from another by its name."""
        if self._class(name) is not None:
            return self.fields(name)
        for node in self.body:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        module = resolve_name("." * node.level + node.module, self.package)
                        return _Source(module).fields(alias.name)
        return {}

    def _class(self, name: str) -> ast.ClassDef | None:
        classes = (node for node in self.body if isinstance(node, ast.ClassDef))
        return next((node for node in classes if node.name == name), None)


def _is_dataclass(node: ast.ClassDef) -> bool:
    calls = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    names = (call.attr if isinstance(call, ast.Attribute) else call for call in calls)
    return any(getattr(name, "id", name) == "dataclass" for name in names)


def _own(node: ast.ClassDef) -> dict[str, Any]:
    """The annotated names of the class itself, but for class variables."""
    return {
        inner.target.id: _default(inner.value)
        for inner in node.body
        if isinstance(inner, ast.AnnAssign)
        and isinstance(inner.target, ast.Name)
        and "ClassVar" not in ast.unparse(inner.annotation)
    }


def _facts(owner: ast.ClassDef | ast.Module) -> dict[str, Any]:
    """The keywords of ``facts = Facts(…)``, but for those that are no literals."""
    for node in owner.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if getattr(target, "id", "") == "facts" and isinstance(value, ast.Call):
            named = [(one.arg, one.value) for one in value.keywords if one.arg]
            return {name: one.value for name, one in named if isinstance(one, ast.Constant)}
    return {}


def _is_fit(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == "fit"


def _default(value: ast.expr | None) -> Any:
    if isinstance(value, ast.Call):  # field(default=…)
        named = {keyword.arg: keyword.value for keyword in value.keywords}
        value = named.get("default", value)
    if value is None:
        return None
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError):
        return ast.unparse(value)

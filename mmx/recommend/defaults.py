"""The settings of a recommender and their defaults, read from the source of its module.

Importing the module would import torch, which takes longer than all else that lists models.
"""

from __future__ import annotations

import ast
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from mmx.errors import RunError

CLASS = "Config"


def defaults_of(module: str) -> dict[str, Any]:
    """Each field of the module's Config and its default, in the order of ``dataclasses.fields``.

    A default that is not a literal is the text of its expression. Raises RunError when there is
    no such module, or it has no source or no Config.
    """
    return _Source(module).fields(CLASS)


class _Source:
    """The syntax tree of a module."""

    def __init__(self, module: str) -> None:
        try:
            spec = find_spec(module)
        except ModuleNotFoundError:  # the package that it would be in
            spec = None
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            raise RunError(f"no source file of the module {module}; check its name")
        self.module, self.package = module, spec.parent
        self.body = ast.parse(Path(spec.origin).read_bytes()).body

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

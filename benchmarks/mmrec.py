"""MMRec's models from a checkout, on a world in memory, with current numpy, scipy and torch.

What its files need to run here: ``dok_matrix._update``, which scipy no longer has; LayerGCN's
imports, which name a folder that the checkout does not have; ``cuda()``, which some files call
whatever the device; and of torch_geometric, torch_scatter, sparsesvd and scikit-learn the few
functions that are called, where the library is not installed.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from contextlib import redirect_stdout
from importlib.util import find_spec
from inspect import signature
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import yaml
from scipy import sparse
from torch import nn


class Settings(dict[str, Any]):
    """As its Config: None for what is not set."""

    def __missing__(self, key: str) -> None:
        return None


class Training:
    """What a model reads of its data loader."""

    def __init__(self, users: int, items: int, pairs: np.ndarray) -> None:
        self.users, self.items, self.pairs, self.dataset = users, items, pairs, self

    def get_user_num(self) -> int:
        return self.users

    def get_item_num(self) -> int:
        return self.items

    def inter_matrix(self, form: str = "coo", value_field: str | None = None) -> Any:
        ones = np.ones(len(self.pairs))
        matrix = sparse.coo_matrix((ones, tuple(self.pairs.T)), shape=(self.users, self.items))
        return matrix.asformat(form)


def prepare(checkout: Path) -> None:
    """Make its packages importable. Ends the program where the folder is not a checkout."""
    source = checkout.resolve() / "src"
    if not (source / "models" / "bpr.py").is_file():
        sys.exit(f"{checkout} is not an MMRec checkout: it has no src/models/bpr.py")
    sys.path.insert(0, str(source))
    libraries = _libraries()
    missing = [name for name in libraries if find_spec(name.split(".")[0]) is None]
    sys.modules |= {name: _module(name, **libraries[name]) for name in missing}
    for name in ("", ".abstract_recommender", ".loss", ".init"):
        sys.modules[f"models.common{name}"] = importlib.import_module(f"common{name}")
    warnings.filterwarnings("ignore", module="models|utils|torch")
    sparse.dok_matrix._update = lambda self, entries: self._dict.update(entries)
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]


def build(
    name: str,
    settings: dict[str, Any],
    users: int,
    items: int,
    pairs: np.ndarray,
    features: dict[str, np.ndarray],
    folder: Path,
) -> Any:
    """A new model of the class ``name``, in float64; its module is loaded again.

    Settings that are not given are the first of those in its file. No item graph is taken from
    ``folder``, which is only written to.
    """
    for left in folder.iterdir():
        left.unlink()
    np.save(folder / "image.npy", features["image"])
    np.save(folder / "text.npy", features["text"])
    np.save(folder / "users.npy", _sharing(users, pairs), allow_pickle=True)  # type: ignore[arg-type]
    module = importlib.reload(importlib.import_module(f"models.{name.lower()}"))
    torch.manual_seed(0)
    np.random.seed(0)  # which DualGNN and DRAGON draw from
    config = Settings(_configured(module, name))
    config |= {"data_path": f"{folder.parent}/", "dataset": folder.name, "device": "cpu"}
    config |= {"vision_feature_file": "image.npy", "text_feature_file": "text.npy"}
    config |= {"user_graph_dict_file": "users.npy"} | settings
    with redirect_stdout(StringIO()):
        model = getattr(module, name)(Settings(config), Training(users, items, pairs))
    return _in_float64(model)


def module_of(model: nn.Module) -> Any:
    """The module that a model's class is in."""
    return sys.modules[type(model).__module__]


def _sharing(users: int, pairs: np.ndarray) -> dict[int, list[list[Any]]]:
    """A user → those with whom they share items, most first, and the numbers of these items."""
    taken = np.zeros((users, pairs.max() + 1), dtype=np.int64)
    taken[tuple(pairs.T)] = 1
    common = taken @ taken.T
    np.fill_diagonal(common, 0)
    order = np.argsort(-common, axis=1, kind="stable")
    found = {user: order[user, : np.count_nonzero(common[user])] for user in range(users)}
    return {u: [v.tolist(), common[u, v].astype(float).tolist()] for u, v in found.items()}


def _configured(module: ModuleType, name: str) -> dict[str, Any]:
    """Its general settings and those of the model, of several values the first."""
    assert module.__file__
    folder = Path(module.__file__).parents[1] / "configs"
    found: dict[str, Any] = {}
    for path in (folder / "overall.yaml", folder / "model" / f"{name}.yaml"):
        found |= yaml.safe_load(path.read_text())
    return {key: value[0] if isinstance(value, list) and value and key != "weight_size" else value
            for key, value in found.items()}  # fmt: skip


def _in_float64(model: nn.Module) -> nn.Module:
    """Parameters, and the tensors that are plain attributes."""
    for part in model.double().modules():
        for key, value in list(vars(part).items()):
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                setattr(part, key, value.detach().double().requires_grad_(value.requires_grad))
    return model


class _MessagePassing(nn.Module):
    """Sums or means of messages over the edges that lead to a node."""

    def __init__(self, aggr: str = "add") -> None:
        super().__init__()
        self.mean = {"add": False, "mean": True}[aggr]

    def propagate(self, edges: torch.Tensor, size: Any, x: torch.Tensor) -> torch.Tensor:
        source, target = edges
        known = {"x_j": x[source], "x_i": x[target], "edge_index": edges, "edge_index_i": target,
                 "size": size, "size_i": len(x)}  # fmt: skip
        message: Any = self.message
        messages = message(**{name: known[name] for name in signature(message).parameters})
        sums = torch.zeros_like(x).index_add(0, target, messages)
        counts = torch.bincount(target, minlength=len(x)).clamp(min=1)[:, None]
        return sums / counts if self.mean else sums


def _softmax(values: torch.Tensor, index: torch.Tensor, num_nodes: int) -> torch.Tensor:
    """Over the entries of the same index."""
    raised = (values - values.max()).exp()
    return raised / raised.new_zeros(num_nodes).index_add(0, index, raised)[index]


def _degree(index: torch.Tensor, num_nodes: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.bincount(index, minlength=num_nodes).to(dtype)


def _edges_as_they_are(edges: torch.Tensor, *_: Any, p: float = 0.0) -> tuple[torch.Tensor, None]:
    """``remove_self_loops`` of users and items, and ``dropout_adj`` of 0."""
    assert p == 0
    return edges, None


def _scatter_add(values: torch.Tensor, row: torch.Tensor, dim: int, dim_size: int) -> torch.Tensor:
    return values.new_zeros(dim_size).index_add(dim, row, values)


def _uniform(size: int, tensor: torch.Tensor) -> None:
    nn.init.uniform_(tensor, -(size**-0.5), size**-0.5)


def _unused(*_: Any, **__: Any) -> None:
    raise NotImplementedError


def _libraries() -> dict[str, dict[str, Any]]:
    """Names in modules that may not be installed."""
    uniform = _module("torch_geometric.nn.inits", uniform=_uniform)
    of_edges = {"remove_self_loops": _edges_as_they_are, "dropout_adj": _edges_as_they_are,
                "add_self_loops": _unused, "softmax": _softmax, "degree": _degree}  # fmt: skip
    return {
        "torch_geometric": {"nn": _module("torch_geometric.nn", inits=uniform)},
        "torch_geometric.nn": {"inits": uniform},
        "torch_geometric.nn.conv": {"MessagePassing": _MessagePassing},
        "torch_geometric.utils": of_edges,
        "torch_scatter": {"scatter": _unused, "scatter_add": _scatter_add},
        "sparsesvd": {"sparsesvd": _unused},
        "sklearn": {},
        "sklearn.cluster": {"KMeans": _unused},
    }


def _module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    return made

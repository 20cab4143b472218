"""How good the defaults of the recommenders are: validation Recall@20 over several data sets.

    python benchmarks/defaults.py OUT                                      # the drawn ones
    python benchmarks/defaults.py OUT --posters DIR --stores IMAGE.parquet TEXT.parquet
    python benchmarks/defaults.py OUT --baby DIR                           # models without features
    python benchmarks/defaults.py OUT --models vbpr,bpr --grid             # and points beside them
    python benchmarks/defaults.py OUT --table                              # of what is finished

Every model is trained with its defaults on every data set, with the seed 0; test figures are not
looked at. The first table has a line a model, with a mark where it is not above popularity (`!`)
or, having features, not above the model without them that it extends (`<`, see BASE).

--grid trains the points of GRID too. A point's share on a data set is its Recall@20 over the best
that the model reached there; the point with the best mean share is printed first. Resumes; an hour
and more without --grid, hours with it, on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from mmx.recommend.models import MODELS
from mmx.recommend.models.spaces import few_points
from mmx.recommend.options import TrainOptions
from mmx.recommend.settings import parse_settings

GRID: dict[str, dict[str, list[Any]]] = {name: few for name in MODELS if (few := few_points(name))}
WITHOUT_FEATURES = tuple(name for name, one in MODELS.items() if one.features == "none")
BASE = {"vbpr": "bpr", "itemknn-cbf": "itemknn", "ease-content": "ease", "l3ae": "ease"}
GRAPH_BASE = "lightgcn"  # of every other model with features
DRAWN = {
    "random": {"sample": {"seed": 7, "items": 400, "users": 600}, "split": "random"},
    "time": {"sample": {"seed": 7, "items": 400, "users": 600}, "split": "temporal"},
    "shop": {"sample": {"seed": 11, "items": 1500, "users": 700}, "split": "random"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of plans and runs")
    parser.add_argument("--posters", type=Path, help="dataset directory, with --stores")
    parser.add_argument("--stores", type=Path, nargs="+", default=[], help="of --posters")
    parser.add_argument("--baby", type=Path, help="dataset directory with a split")
    parser.add_argument("--models", help="names, by commas; by default all")
    parser.add_argument("--grid", action="store_true", help="train the points of GRID too")
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    if not options.table:
        train(options)
    show(options.out)


def train(options: argparse.Namespace) -> None:
    """Run the plans; what is finished is not run again."""
    options.out.mkdir(parents=True, exist_ok=True)
    for name, plan in plans(options).items():
        path = options.out / f"{name}.yaml"
        path.write_text(yaml.safe_dump(plan, sort_keys=False))
        command = [sys.executable, "-m", "mmx", "reproduce", str(path), "--out", options.out / name]
        for model in options.models.split(",") if options.models else []:
            command += ["--only", f"*-{model}-*"]
        subprocess.run([str(word) for word in command], check=True)


def plans(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The plans by name: of the drawn data, and of the directories that were given."""
    made = {"extract": [{"model": "clip:mini"}]}
    found = {"drawn": plan(options, DRAWN, made)}
    if options.posters:
        data = {"data": str(options.posters.resolve()), "split": "random", "min_rating": 4,
                "k_core": 5}  # fmt: skip
        stores = [str(path.resolve()) for path in options.stores]
        found["posters"] = plan(options, {"posters": data}, {"stores": stores})
    if options.baby:
        found["baby"] = plan(options, {"baby": {"data": str(options.baby.resolve())}}, None)
    return found


def plan(options: argparse.Namespace, datasets: dict[str, Any], features: Any) -> dict[str, Any]:
    """One plan of `mmx reproduce`: every model with its defaults, or the points of GRID."""
    both = {"none": "none"} if features is None else {"none": "none", "both": features}
    names = list(MODELS) if features is not None else list(WITHOUT_FEATURES)
    if options.grid:
        models = {name: {"search": GRID[name]} for name in names if name in GRID}
    else:
        models = {name: {} for name in names}
    return {"datasets": datasets, "features": both, "recommenders": models,
            "seeds": [0], "baseline": "none"}  # fmt: skip


Reached = dict[str, dict[str, dict[str, float]]]  # model -> point -> data set -> Recall@20


def show(out: Path) -> None:
    """The tables of the runs that are finished."""
    reached: Reached = defaultdict(lambda: defaultdict(dict))
    for path in sorted(out.glob("*/runs/*/config.json")):
        config = json.loads(path.read_text())
        chosen = {**(config["training"] or {}), **config["settings"]}
        point = " ".join(f"{name}={chosen[name]:g}" for name in GRID.get(config["model"], ()))
        metrics = json.loads(path.with_name("metrics.json").read_text())
        dataset = path.parent.name.partition("-")[0]
        reached[config["model"]][point][dataset] = metrics["valid"]["recall@20"]
    show_defaults(reached)
    for model, points in reached.items():
        if len(points) > 1:
            show_points(model, points)


def show_defaults(reached: Reached) -> None:
    """A line a model, with its default settings."""
    default = {name: points.get(default_point(name), {}) for name, points in reached.items()}
    sets = list(dict.fromkeys(name for values in default.values() for name in values))
    print(f"{'defaults':13}" + "".join(f"{name:>10}" for name in sets))
    for model in (name for name in MODELS if name in default):
        base = None if MODELS[model].features == "none" else BASE.get(model, GRAPH_BASE)
        line = f"{model:13}"
        for name in sets:
            value = default[model].get(name)
            below = [
                mark
                for mark, other in (("!", "popularity"), ("<", base))
                if value
                and other
                and other != model
                and value <= default.get(other, {}).get(name, 0)
            ]
            line += f"{f'{value:.4f}' if value else '':>8}{''.join(below):2}"
        print(line)


def default_point(model: str) -> str:
    """Its default settings at the names of GRID, as ``show`` writes a run's."""
    record = MODELS[model]
    chosen = {**asdict(TrainOptions().of(record)), **asdict(parse_settings(record, []))}
    return " ".join(f"{name}={chosen[name]:g}" for name in GRID.get(model, ()))


def show_points(model: str, points: dict[str, dict[str, float]]) -> None:
    """Every point that was trained, the best one first."""
    best: dict[str, float] = {}
    for values in points.values():
        best = {name: max(best.get(name, 0), v) for name, v in (best | values).items()}
    shares = {
        point: sum(v / best[name] for name, v in values.items()) / len(values)
        for point, values in points.items()
    }
    print(f"\n{model}: share of the best, validation Recall@20")
    for point, values in sorted(points.items(), key=lambda one: -shares[one[0]]):
        each = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        print(f"  {shares[point]:.3f}  {point:45} {each}")


if __name__ == "__main__":
    main()

"""How the defaults of the recommenders were chosen: validation Recall@20 over several data sets.

    python benchmarks/defaults.py OUT                                      # the drawn ones
    python benchmarks/defaults.py OUT --posters DIR --stores IMAGE.parquet TEXT.parquet
    python benchmarks/defaults.py OUT --baby DIR                           # models without features
    python benchmarks/defaults.py OUT --models vbpr,bpr
    python benchmarks/defaults.py OUT --table                              # of what is finished

Every point of GRID is trained on every data set with the seed 0; test figures are not looked at. A
point's share on a data set is its Recall@20 over the best that the model reached there; the point
with the best mean share is printed as the choice. Resumes; hours in all on one core.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

from mmx.recommend.models import MODELS

GRID: dict[str, dict[str, list[Any]]] = {
    "bpr": {"reg": [0.01, 0.03, 0.1]},
    "vbpr": {"reg": [0.01, 0.03, 0.1], "content_reg": [0.003, 0.03, 0.3]},
    **{name: {"lr": [0.001, 0.003]} for name, record in MODELS.items()
       if not record.closed_form and name not in ("bpr", "vbpr")},
}  # fmt: skip
WITHOUT_FEATURES = ("bpr", "lightgcn", "layergcn")
FLOOR = ("popularity", "itemknn", "itemknn-cbf", "ease", "l3ae")
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
    parser.add_argument("--table", action="store_true", help="train nothing")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, plan in plans(options).items():
        path = options.out / f"{name}.yaml"
        path.write_text(yaml.safe_dump(plan, sort_keys=False))
        command = [sys.executable, "-m", "mmx", "reproduce", str(path), "--out", options.out / name]
        for model in options.models.split(",") if options.models else []:
            command += ["--only", f"*-{model}-*"]
        if not options.table:
            subprocess.run([str(word) for word in command], check=True)
    show(options.out)


def plans(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The plans by name: of the drawn data, and of the directories that were given."""
    found = {"drawn": plan(DRAWN, {"extract": [{"model": "clip:mini"}]}, list(GRID))}
    if options.posters:
        data = {"data": str(options.posters.resolve()), "split": "random", "min_rating": 4,
                "k_core": 5}  # fmt: skip
        stores = [str(path.resolve()) for path in options.stores]
        found["posters"] = plan({"posters": data}, {"stores": stores}, list(GRID))
    if options.baby:
        data = {"data": str(options.baby.resolve())}
        found["baby"] = plan({"baby": data}, None, list(WITHOUT_FEATURES))
    return found


def plan(datasets: dict[str, Any], features: Any, names: list[str]) -> dict[str, Any]:
    """One plan of `mmx reproduce`."""
    both = {"none": "none"} if features is None else {"none": "none", "both": features}
    models = {name: {"search": GRID[name]} for name in names}
    floor: dict[str, Any] = {
        name: {} for name in FLOOR if features is not None or MODELS[name].features == "none"
    }
    return {"datasets": datasets, "features": both, "recommenders": {**floor, **models},
            "seeds": [0], "baseline": "none"}  # fmt: skip


def show(out: Path) -> None:
    """The tables of the runs that are finished."""
    reached: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted(out.glob("*/runs/*/config.json")):
        config = json.loads(path.read_text())
        chosen = {**(config["training"] or {}), **config["settings"]}
        point = " ".join(f"{name}={chosen[name]:g}" for name in GRID.get(config["model"], ()))
        metrics = json.loads(path.with_name("metrics.json").read_text())
        dataset = path.parent.name.partition("-")[0]
        reached[config["model"]][point][dataset] = metrics["valid"]["recall@20"]
    for model, points in reached.items():
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

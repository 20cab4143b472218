"""MMRec itself, from a checkout, trains on a folder that `mmx export --to mmrec` wrote.

    git clone https://github.com/enoche/MMRec /tmp/MMRec
    mmx export DIR --to mmrec --out exported/shop --features cache/clip.parquet
    python benchmarks/mmrec_trains.py /tmp/MMRec exported/shop --model FREEDOM --epochs 2

Prints one line of JSON: the best test metrics of its own evaluation. The checkout is only read,
but for the log that it writes of each run. Needs pandas; lmdb, which it imports and does not use
here, is replaced by an empty module.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import yaml
from mmrec import prepare


def main() -> None:
    """Train, and print what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("mmrec", type=Path, metavar="MMREC_DIR", help="an MMRec checkout")
    parser.add_argument("folder", type=Path, help="what `mmx export --to mmrec` wrote")
    parser.add_argument("--model", default="VBPR", help="as MMRec calls it")
    parser.add_argument("--epochs", type=int, default=2)
    given = parser.parse_args()
    folder = given.folder.resolve()
    with redirect_stdout(sys.stderr):
        found = trained(given.mmrec, folder, given.model, given.epochs)
    print(json.dumps(found))


def trained(checkout: Path, folder: Path, model: str, epochs: int) -> dict[str, float]:
    """Test metrics by name."""
    prepare(checkout)
    np.float = float  # type: ignore[attr-defined]  # which NumPy no longer has
    for name in ("matplotlib", "matplotlib.pyplot", "lmdb"):
        sys.modules.setdefault(name, ModuleType(name))
    os.chdir(checkout / "src")
    from common.trainer import Trainer
    from utils.quick_start import quick_start

    seen: list[dict[str, float]] = []
    measure = Trainer._valid_epoch

    def measured(self: Any, data: Any, *rest: Any, **more: Any) -> Any:
        found = measure(self, data, *rest, **more)
        seen.append({name: float(value) for name, value in found[1].items()})
        return found

    Trainer._valid_epoch = measured
    settings = yaml.safe_load((folder / f"{folder.name}.yaml").read_text(encoding="utf-8"))
    settings |= {"data_path": f"{folder.parent}/", "use_gpu": False, "epochs": epochs}
    settings |= {"save_recommended_topk": False, "seed": [999]}
    items = len((folder / "i_id_mapping.csv").read_text(encoding="utf-8").splitlines()) - 1
    settings["topk"] = [k for k in (5, 10, 20, 50) if k <= items]  # it fails on more
    settings |= first_values(checkout, model)
    quick_start(model=model, dataset=folder.name, config_dict=settings, save_model=False)
    return seen[-1]  # validation and test take turns


def first_values(checkout: Path, model: str) -> dict[str, Any]:
    """Of the settings that MMRec would search, the first value alone."""
    path = checkout / "src" / "configs" / "model" / f"{model}.yaml"
    found = yaml.safe_load(path.read_text()) if path.is_file() else {}
    names = found.get("hyper_parameters", [])
    return {name: found[name][:1] for name in names if isinstance(found.get(name), list)}


if __name__ == "__main__":
    main()

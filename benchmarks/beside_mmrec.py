"""Seconds an epoch and of an evaluation beside MMRec's, in the same run on the same data.

    git clone https://github.com/enoche/MMRec /tmp/MMRec
    python benchmarks/beside_mmrec.py /tmp/MMRec
    python benchmarks/beside_mmrec.py /tmp/MMRec --models freedom,mgcn --epochs 2

The made-up data of ``train_epoch.py``, of the size of Amazon Baby: 118,551 training pairs, 4096
and 384 numbers of features. MMRec trains and evaluates by its own program (its data loader,
trainer and metrics), ours by ours; both with batches of 2048, --threads threads and the settings of
SETTINGS, which ask for the same work. The fastest of the epochs counts. Ours is measured in
float32 and in bfloat16; the ratio is MMRec's seconds over ours.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmx.recommend.interactions import UserItems

HERE = Path(__file__).parent
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "bpr": ("BPR", {"reg_weight": 0.01}),
    "vbpr": ("VBPR", {"reg_weight": 0.01}),
    "lightgcn": ("LightGCN", {"n_layers": 3, "reg_weight": 1e-4}),
    "layergcn": ("LayerGCN", {"n_layers": 4, "dropout": 0.1, "reg_weight": 1e-3}),
    "lattice": ("LATTICE", {"reg_weight": 0.0, "learning_rate": 1e-3}),
    "mmgcn": ("MMGCN", {"reg_weight": 0, "learning_rate": 1e-3}),
    "slmrec": ("SLMRec", {"learning_rate": 1e-3, "ssl_temp": 0.2, "ssl_alpha": 0.01, "reg": 1e-4}),
    "freedom": ("FREEDOM", {"dropout": 0.8, "reg_weight": 1e-3}),
    "bm3": ("BM3", {"n_layers": 1, "dropout": 0.3, "reg_weight": 0.1}),
    "mgcn": ("MGCN", {"cl_loss": 0.01}),
    "lgmrec": ("LGMRec", {}),
    "pgl": ("PGL", {}),
    "smore": ("SMORE", {"n_ui_layers": 3, "reg_weight": 1e-4}),
    "grcn": ("GRCN", {"reg_weight": 1e-3, "learning_rate": 1e-3}),
    "dragon": ("DRAGON", {"reg_weight": 1e-3, "learning_rate": 1e-3}),
    "dualgnn": ("DualGNN", {"reg_weight": 1e-3, "learning_rate": 1e-3}),
    "mmgcf": ("MMGCF", {"n_ui_layers": 2, "reg_weight": 1e-3, "dropout": 0.2}),
}
NEIGHBOURS = 50  # of a user, in the file that two models read; they take the first 40


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("mmrec", type=Path, metavar="MMREC_DIR", help="an MMRec checkout")
    parser.add_argument("--models", default=",".join(SETTINGS), help="names, by commas")
    parser.add_argument("--epochs", type=int, default=2, help="the fastest one counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-bfloat16", action="store_true", help="as on processors without it")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--theirs", type=Path, help=argparse.SUPPRESS)  # data, in a process of its
    options = parser.parse_args()
    if options.theirs:
        print(json.dumps(measure(options)))
        return
    print("| model | MMRec s/epoch | float32 | ratio | bfloat16 | ratio | MMRec evaluation | "
          "ours | ratio | MMRec GB | ours GB |\n" + "| --- " * 11 + "|")  # fmt: skip
    rows = {}
    with TemporaryDirectory() as folder:
        write_data(Path(folder) / "baby")
        for name in options.models.split(","):
            rows[name] = compared(options, name, Path(folder))
            if options.json:
                options.json.write_text(json.dumps(rows, indent=1) + "\n")


def compared(options: argparse.Namespace, name: str, data: Path) -> dict[str, Any]:
    """One line of the table."""
    same = [f"--epochs={options.epochs}", f"--threads={options.threads}"]
    theirs = last_line([__file__, options.mmrec, "--theirs", data, "--models", name, *same])
    precisions = ["float32"] if options.no_bfloat16 else ["float32", "bfloat16"]
    mine = [HERE / "train_epoch.py", "--one", name, *same, "--precision"]
    ours, half = ([last_line([*mine, one]) for one in precisions] + [{"epoch": math.nan}])[:2]
    for failed in (row for row in (theirs, ours, half) if "error" in row):
        print(f"| {name} | {failed['error']} |", flush=True)
        return {"error": failed["error"]}
    evaluation = theirs["evaluation"] / ours["evaluation"]
    print(
        f"| {name} | {theirs['epoch']:.2f} | {ours['epoch']:.2f} | "
        f"{theirs['epoch'] / ours['epoch']:.1f} | {half['epoch']:.2f} | "
        f"{theirs['epoch'] / half['epoch']:.1f} | {theirs['evaluation']:.2f} | "
        f"{ours['evaluation']:.2f} | {evaluation:.1f} | {theirs['peak']:.1f} | "
        f"{ours['peak']:.1f} |",
        flush=True,
    )
    return {"mmrec": theirs, "float32": ours, "bfloat16": half}


def last_line(command: list[Any]) -> dict[str, Any]:
    """What a process of its own measured."""
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_data(folder: Path) -> None:
    """The made-up data in MMRec's files; its evaluation and test are on the same pairs."""
    import numpy as np
    from train_epoch import made_up

    data, features = made_up()
    folder.mkdir()
    lines = ["userID\titemID\trating\ttimestamp\tx_label"]
    for part, label in ((data.train, 0), (data.valid, 1), (data.valid, 2)):
        lines += [f"{u}\t{i}\t5.0\t0\t{label}" for u, i in zip(part.users, part.indices)]  # noqa: B905
    (folder / "baby.inter").write_text("\n".join(lines) + "\n")
    for name, found in features.items():
        np.save(folder / f"{name}_feat.npy", found.matrix)
    sharing: Any = users_who_share(data.train)
    np.save(folder / "user_graph_dict.npy", sharing, allow_pickle=True)


def users_who_share(train: UserItems) -> dict[int, list[list[Any]]]:
    """A user → those with whom they share items, most first, and how many these are."""
    import numpy as np
    from scipy import sparse

    ones = np.ones(len(train.indices))
    taken = sparse.csr_matrix(
        (ones, train.indices, train.indptr), shape=(train.n_users, train.n_items)
    )
    common = (taken @ taken.T).tocsr()
    common.setdiag(0)
    common.eliminate_zeros()
    found = {}
    for user in range(common.shape[0]):
        row = common[user]
        first = (-row.data).argsort(kind="stable")[:NEIGHBOURS]
        found[user] = [row.indices[first].tolist(), row.data[first].tolist()]
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """MMRec's own program in this process."""
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import numpy as np
    import torch
    from mmrec import prepare

    torch.set_num_threads(options.threads)
    prepare(options.mmrec)
    np.float = float  # type: ignore[attr-defined]  # which NumPy no longer has
    for name in ("matplotlib", "matplotlib.pyplot", "lmdb"):  # imported, and not used here
        sys.modules.setdefault(name, ModuleType(name))
    os.chdir(options.mmrec / "src")
    from common.trainer import Trainer
    from utils import quick_start

    seconds: dict[str, list[float]] = {"_train_epoch": [], "_valid_epoch": []}
    for method, found in seconds.items():
        setattr(Trainer, method, timed(getattr(Trainer, method), found))
    theirs, chosen = SETTINGS[options.models]
    settings = {name: [value] for name, value in one_of_each(theirs, chosen).items()} | {
        "data_path": f"{options.theirs}/", "use_gpu": False, "epochs": options.epochs,
        "vision_feature_file": "image_feat.npy", "text_feature_file": "text_feat.npy",
        "inter_file_name": "baby.inter", "save_recommended_topk": False,
    }  # fmt: skip
    quick_start.get_model = made_here(quick_start.get_model)
    quick_start.quick_start(model=theirs, dataset="baby", config_dict=settings, save_model=False)
    return {
        "epoch": min(seconds["_train_epoch"]),
        "evaluation": min(seconds["_valid_epoch"]),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def one_of_each(model: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """What is chosen, and of what MMRec would try in turn the first."""
    from utils.configurator import Config

    config = Config(model, "baby", {"use_gpu": False})
    tried = {name: config[name] for name in config["hyper_parameters"]}
    return {name: v[0] for name, v in tried.items() if isinstance(v, list)} | chosen


def made_here(get_model: Any) -> Any:
    """Two of its models put a tensor where they have made a parameter, which torch refuses."""

    def get(name: str) -> Any:
        class Made(get_model(name)):  # type: ignore[misc]
            def __init__(self, *given: Any) -> None:
                super().__init__(*given)
                self._parameters.pop("result_embed", None)

        return Made

    return get


def timed(method: Any, seconds: list[float]) -> Any:
    def wrapped(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        found = method(*given, **named)
        seconds.append(time.perf_counter() - start)
        return found

    return wrapped


if __name__ == "__main__":
    main()

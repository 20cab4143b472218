"""``mmx train --config``: the options of a run that was trained, to train it again.

A run's config.json is data: it may have been written by anyone. It never names code to run, an
address to fetch, or a folder to write; these come from the command itself.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from mmx.cache.schema import library_versions
from mmx.errors import OptionError, RunError, first_few
from mmx.files import as_path, as_place, is_url
from mmx.logs import log_line
from mmx.own.code import Code, Codes, as_codes, reference
from mmx.recommend.expected import Expected
from mmx.recommend.features import FeatureSpec
from mmx.recommend.job import TrainJob
from mmx.recommend.job_options import ENCODER, JOINT, SPLIT, TRAINING, Options, job_of
from mmx.recommend.models import find_model
from mmx.recommend.run_config import read_config

KNOWN = {  # keys of config.json that are repeated, and those that say what came of a run
    "model", "code", "settings", "training", "data", "images", "split", "unknown_items", "csv",
    "features", "control", "end_to_end", "weights", "inputs", "versions",
    "format", "scorer", "can", "dropped", "left_out", "best_epoch", "sha256", "cost",
}  # fmt: skip
OF_ENCODER = {*ENCODER, *JOINT, "parameters_sha256", "items_with_vector", "items"}
OF_CSV = ("encoding", "delimiter")
PLACES = ("data", "images", "weights", "tokenizer")
INSTEAD = {  # options that are left out where another one is given in their place
    "features": ("end_to_end", *ENCODER, *JOINT),
    "end_to_end": ("features", "control"),
    "split": SPLIT[2:],
    "at": ("folds", "fold"),
    "folds": ("at", "fold"),
    "seed": ("split_seed",),  # one --seed draws all
}


def repeat(
    config: Path | str,
    *,
    code: Codes = (),
    log: Callable[[str], None] = log_line,
    **given: Any,
) -> TrainJob:
    """The job of a run, to be trained again: ``config`` is its config.json, or its folder.

    ``given`` are options of ``mmx train`` that count instead of the run's (``min_rating=4``,
    ``settings=["reg=0.1"]``); ``log`` gets a line on each. ``code`` is what a model of the
    user's own may run. When the job is trained, data, vectors and code must be those of the run,
    unless ``given`` names others. Raises RunError for what is not the record of a training,
    OptionError for what has to be given.
    """
    path = as_path(config)
    run, record = read_config(path)
    written = _options(run, record)
    codes = as_codes(code)
    given = {name: value for name, value in given.items() if value is not None}
    options = {**written, **given}
    same = _file_name(options["model"]) == written["model"]
    options["model"] = _with_code(run, record, options["model"], codes)
    for name in _replaced(written, given, codes, same):
        options.pop(name, None)
    if "settings" in given:
        options["settings"] = _merged(written["settings"] if same else [], given["settings"])
    for line in _lines(written, {**options, "model": _file_name(options["model"])}):
        log(line)
    _check_places(run, options, given)
    expected = Expected(run, record.get("inputs", {}), tuple(record["features"]), frozenset(given))
    _say_versions(run, record["versions"], log)
    return job_of(options, codes, expected)


def _options(run: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What the run was trained with, as ``job_of`` takes it. Raises RunError."""
    if "parts" in config:
        raise RunError(f"{run} is of a fusion, which is not trained; make it again: "
                       f"{_fusion(config['parts'])}")  # fmt: skip
    if "lists" in config:
        raise RunError(f"{run} is of lists that were not made here; measure them again: "
                       "mmx evaluate --lists FILE")  # fmt: skip
    _refuse_unknown(run, config, KNOWN)
    training, split = config.get("training") or {}, config["split"]
    joint, control = config.get("end_to_end") or {}, config.get("control") or {}
    _refuse_unknown(f"training of {run}", training, {*TRAINING, "seed", "keep_lists"})
    _refuse_unknown(f"split of {run}", split, {"rule", "seed", *SPLIT})
    _refuse_unknown(f"end_to_end of {run}", joint, OF_ENCODER)
    seed = training.get("seed", control.get("seed", split.get("seed")))
    found = {
        "model": config["model"],
        "settings": [f"{name}={_word(run, value)}" for name, value in config["settings"].items()],
        "data": config["data"],
        "images": config.get("images"),
        "unknown_items": config.get("unknown_items"),
        "ignore_weights": True if config.get("weights") == "ignored" else None,
        "features": [] if joint else _specs(run, config["features"]),
        "control": control.get("arm"),
        "end_to_end": True if joint else None,
        "split": split.get("rule"),
        "split_seed": split.get("seed"),
        "seed": seed,
        **{name: value for name, value in training.items() if name != "seed"},
        **{name: split.get(name) for name in SPLIT},
        **{name: (config.get("csv") or {}).get(name) for name in OF_CSV},
        **{name: joint.get(name) for name in (*ENCODER, *JOINT)},
    }
    if joint.get("refresh") == "epoch":  # which has the defaults of two options it does not use
        found |= {"encoder_lr": None, "tune": None}
    return {name: value for name, value in found.items() if value is not None}


def _refuse_unknown(where: str, found: Any, known: set[str]) -> None:
    if not isinstance(found, Mapping):
        raise RunError(f"{where} is not a record; take the config.json of another run")
    others = [name for name in found if name not in known]
    if others:
        raise RunError(f"{where} has {str(others[0])[:40]!r}, which this version cannot repeat; "
                       "use the version that trained it")  # fmt: skip


def _word(run: str, value: Any) -> str:
    """A setting as it is typed."""
    if not isinstance(value, str | int | float):
        raise RunError(
            f"{run} has a setting that is a {type(value).__name__}, not a text or number"
        )
    return str(value).lower() if isinstance(value, bool) else str(value)


def _specs(run: str, records: list[dict[str, Any]]) -> list[FeatureSpec]:
    """The stores in the order of the vectors, each with the modalities that were used."""
    for record in records:
        if not all(isinstance(record.get(name), str) for name in ("store", "modality")):
            raise RunError(f"{run} has features without a store; take the config.json of "
                           "another run")  # fmt: skip
    stores = groupby(records, lambda record: record["store"])
    return [FeatureSpec(store, [one["modality"] for one in some]) for store, some in stores]


def _fusion(parts: Any) -> str:
    """The command that makes a fusion again."""
    named = [str(part.get("run"))[:200] for part in parts if isinstance(part, Mapping)]
    return shlex.join(["mmx", "fuse", *named])


def _with_code(run: str, config: Mapping[str, Any], model: Any, codes: tuple[Code, ...]) -> Any:
    """The model, with the path of its file where it is one of the user's own.

    Raises OptionError where the run's own code is not named, RunError where it has changed.
    """
    name, kept = str(config["model"]), config.get("code") or {}
    found = reference(name)
    if found is None or _file_name(str(model)) != name:
        return model
    mine = next((code for code in codes if found.source in (code.where, code.name)), None)
    if mine is None:
        raise OptionError(f"{run} is of {name[:80]}, code of your own, which runs only where the "
                          f"command names it: --model {name[:80]}, with its path")  # fmt: skip
    if mine.sha256 != kept.get("sha256"):
        raise RunError(f"{mine.where} has changed since {run} was written (SHA-256 "
                       f"{mine.sha256[:8]} instead of {str(kept.get('sha256'))[:8]}); restore it, "
                       "or train without --config")  # fmt: skip
    return f"{mine.where}:{found.member}"


def _file_name(model: str) -> str:
    """``mine.py:Model`` of ``folder/mine.py:Model``, which a run keeps; other names as they are."""
    return model.rpartition("/")[2]


def _replaced(
    written: Options, given: Options, codes: tuple[Code, ...], same_model: bool
) -> Iterator[str]:
    """Options of the run that those given leave without a use."""
    for name in given:
        yield from (other for other in INSTEAD.get(name, ()) if other not in given)
    if same_model:
        return
    record = find_model(given["model"], codes)
    unused = ["settings", *(TRAINING if record.closed_form else ())]
    unused += ["lr"] * (written.get("lr") != record.lr)  # the model's own
    unused += ["features", "control", "end_to_end", *ENCODER, *JOINT] * (record.features == "none")
    yield from (name for name in unused if name not in given)


def _merged(written: list[str], given: Any) -> list[str]:
    """The run's settings, and those given in the place of the same names."""
    given = [given] if isinstance(given, str) else list(given)
    names = {text.partition("=")[0] for text in given}
    return [*(text for text in written if text.partition("=")[0] not in names), *given]


def _lines(written: Options, options: Options) -> Iterator[str]:
    """What is not as it was in the run."""
    for name in dict.fromkeys([*written, *options]):
        then, now = written.get(name), options.get(name)
        if str(then) == str(now) or name == "split_seed":
            continue
        option = {"settings": "set"}.get(name, name.replace("_", "-"))
        if name not in options:
            yield f"--{option} of the run is left out: {_shown(then)}"
        else:
            yield f"--{option} {_shown(now)} instead of {_shown(then)}"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        named = (f"{v.path}:{','.join(v.modalities)}" if isinstance(v, FeatureSpec) else str(v)
                 for v in value)  # fmt: skip
        return " ".join(named)[:120] or "none"
    return "none" if value is None else str(value)[:80]


def _check_places(run: str, options: Options, given: Options) -> None:
    """Raise OptionError for what the run read and is not there, or is not on this machine."""
    named = [(name, options[name]) for name in PLACES if name in options and name not in given]
    if "features" not in given:
        named += [("features", spec.path) for spec in options.get("features", ())]
    for name, place in named:
        if is_url(str(place)):
            raise OptionError(f"{run} names {str(place)[:120]}; a URL is opened only where the "
                              f"command names it: --{name} URL")  # fmt: skip
        if not _exists(str(place)):
            raise OptionError(f"{run} was trained with --{name} {str(place)[:120]}, which is not "
                              f"there; say where it is now: --{name} PATH")  # fmt: skip


def _exists(place: str) -> bool:
    try:
        return as_place(place).exists()
    except OSError:  # a name too long for any file
        return False


def _say_versions(run: str, then: Mapping[str, Any], log: Callable[[str], None]) -> None:
    now = library_versions()
    other = [f"{name} {str(then[name])[:20]} (here {now.get(name)})" for name in then
             if then[name] != now.get(name)]  # fmt: skip
    if other:
        log(f"{run} was trained with {first_few(other)}; figures may differ")

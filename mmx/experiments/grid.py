"""Run a plan, cell by cell; what is finished stays, what fails does not stop the others.

A run directory's name ends in a digest of everything the run depends on (dataset, split,
features, settings, training). A cell is finished when its directory is there; a changed plan
makes other directories, and never takes one for another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmx.atomic import write_text
from mmx.devices import AUTO, usable_device
from mmx.errors import OptionError, RunError, TargetError
from mmx.experiments.artifacts import Artifacts, digest, one_line
from mmx.experiments.cells import Cell, Group, columns, groups
from mmx.experiments.journal import Journal
from mmx.experiments.outcome import Finished, GridProgress, Outcome
from mmx.experiments.own_code import check_code
from mmx.experiments.plan import EndToEndEntry, Plan
from mmx.experiments.search import at_edge
from mmx.locks import locked
from mmx.own.code import Code
from mmx.recommend.cost import reset_peaks
from mmx.recommend.end_to_end import EndToEndJob
from mmx.recommend.fit import fit
from mmx.recommend.job import TrainJob
from mmx.recommend.models import find_model
from mmx.recommend.options import TrainProgress
from mmx.recommend.validation import VALIDATED_ON


def _refuse_foreign(out: Path) -> None:
    """Raise TargetError unless the folder is a grid's own, new or empty (temporary files aside)."""
    there = {path.name for path in out.iterdir()} if out.is_dir() else set()
    there = {name for name in there if not (name.startswith(".") and name.endswith(".tmp"))}
    if out.is_file() or (there and there.isdisjoint({"failures.json", "started.json"})):
        raise TargetError(f"{out} is not a folder of `mmx reproduce`; set --out elsewhere")


@dataclass
class Grid:
    """A plan, a folder, and what of the plan is selected."""

    plan: Plan
    out: Path
    only: str | tuple[str, ...] = "*"  # a pattern of cell names, or several; no others are run
    device: str | None = None  # instead of the plan's, for everything
    retry_failed: bool = False  # also what ended with its process twice
    progress: Callable[[GridProgress], None] = lambda state: None
    code: tuple[Code, ...] = ()  # that the plan's models and encoders may run

    def __post_init__(self) -> None:
        if self.device is not None:
            usable_device(self.device)
        _refuse_foreign(self.out)
        check_code(self.plan, self.code)
        self.groups, self.idle = groups(self.plan, self.code), False
        if not any(self._selected(g) for g in self.groups):
            patterns = ", ".join(f"'{pattern}'" for pattern in self._patterns)
            raise OptionError(f"--only {patterns} matches no cell; --dry-run lists them")
        tries = [len(g.trials) if g.searched else 1 for g in self.groups]
        self.state = GridProgress(sum(tries) + sum(len(g.seeds) - 1 for g in self.groups))
        self.outcome = Outcome()
        self.known: dict[Path | str, Finished | None] = {}  # by path, and by label what failed
        # what the searches chose, no control
        self.points: dict[tuple[str, int, str, str], str] = {}
        journal = Journal(self.out / "started.json", forget=self.retry_failed)
        device = self.device or str(self.plan.training.get("device", AUTO))
        self.artifacts = Artifacts(self.plan, self.out, journal, device, self._log, self.code)

    def run(self) -> Outcome:
        """Do what is not done yet. Raises TargetError when another process works in the folder."""
        with locked(self.out):
            write_text(self.out / "failures.json", "[]\n")
            for group in self.groups:
                self._group(group)
            self.state.cell, self.state.detail = "", ""
            self.progress(self.state)
        return self.outcome

    def gather(self) -> Outcome:
        """What is finished; nothing is run, also while another process works in the folder."""
        self.idle = True
        for group in self.groups:
            self._group(group)
        return self.outcome

    def listing(self) -> list[dict[str, Any]]:
        """Every run of the plan and its state; nothing is touched."""
        rows = []
        for group in self.groups:
            tried = () if group.search_as else group.trials
            for cell in tried:
                rows.append({"cell": cell.name, "search": cell.point, "state": self._status(cell)})
            for cell in group.cells(group.trials[0])[bool(tried) :]:
                row = {"cell": cell.name, "search": "", "state": self._status(cell)}
                if len(group.trials) > 1:
                    row |= {"search": f"as {group.search_as or 'the best'}", "state": "—"}
                rows.append(row)
        return [row for row in rows if self._named(row["cell"])]

    def path(self, cell: Cell) -> Path:
        """Where the cell's run is or will be. Raises MmxError when its data cannot be read."""
        entry = self.plan.datasets[cell.dataset]
        record = find_model(cell.model, self.code)
        training = cell.training.described_for(record)
        if training is not None:
            training.pop("device", None)
        depends = {
            "dataset": self.artifacts.dataset_identity(cell.dataset),
            "split": entry.rule_of(cell.split_seed).described(),
            "unknown_items": entry.unknown_items,
            **({"ignore_weights": True} if entry.ignore_weights else {}),
            "features": self.artifacts.features_identity(cell.dataset, cell.features),
            "model": record.code or cell.model,
            "settings": sorted(cell.settings),
            "training": training,
        }
        if cell.control is not None:
            depends["control"] = cell.control.described(cell.training.seed)
        return self.out / "runs" / f"{cell.name}-{digest(depends)}"

    def _selected(self, group: Group) -> bool:
        return any(self._wanted(cell) for cell in group.cells(group.trials[0]))

    def _wanted(self, cell: Cell) -> bool:
        return not self.idle and self._named(cell.name)

    def _named(self, cell: str) -> bool:
        return any(fnmatchcase(cell, pattern) for pattern in self._patterns)

    @property
    def _patterns(self) -> tuple[str, ...]:
        return (self.only,) if isinstance(self.only, str) else self.only

    def _group(self, group: Group) -> None:
        """The search, if there is one, then the seeds."""
        chosen = self._chosen(group)
        for cell in group.cells(chosen or group.trials[0]):
            wanted = self._wanted(cell)
            if chosen is None:
                if wanted and _label(cell) not in self.known:
                    self._fail(cell, self._why_none(group))
            elif found := self._cell(cell, wanted):
                self.outcome.finished.append(found)

    def _chosen(self, group: Group) -> Cell | None:
        """The point of the search that all seeds take; None when it is not known."""
        first, selected = group.trials[0], self._selected(group)
        if group.search_as:
            key = (first.dataset, first.repeat, group.search_as, first.recommender)
            point = self.points.get(key)
            return next((cell for cell in group.trials if cell.point == point), None)
        if not group.searched:
            return first
        tried = [(cell, self._cell(cell, selected)) for cell in group.trials]
        if not selected and not all(found for _, found in tried):
            return None
        chosen = self._choose(group, tried)
        if chosen and first.control is None:
            key = (first.dataset, first.repeat, first.features, first.recommender)
            self.points[key] = chosen.point
        return chosen

    def _why_none(self, group: Group) -> str:
        """Why no point of a search was chosen. None is chosen at random."""
        tried = group.trials if group.searched else ()
        done = [found for found in map(self._known, tried) if found]
        if done and not any(found.validated for found in done):
            return (
                "nothing validates: no validation user has training interactions, so that no "
                "point of its search is better than another; drop 'search', or choose another split"
            )
        return "no point of its search could be finished and measured"

    def _known(self, cell: Cell) -> Finished | None:
        """What ``_cell`` found before; None where it failed."""
        return None if _label(cell) in self.known else self.known.get(self.path(cell))

    def _choose(self, group: Group, tried: list[tuple[Cell, Finished | None]]) -> Cell | None:
        """The point with the best validation metric; the first among equals."""
        reached = [
            found.metrics("valid")[VALIDATED_ON] if found else math.nan for _, found in tried
        ]
        best = max((value for value in reached if not math.isnan(value)), default=None)
        place = None if best is None else reached.index(best)
        for number, ((cell, _), value) in enumerate(zip(tried, reached, strict=True)):
            row: dict[str, Any] = columns(self.plan, cell)
            row |= {"recommender": cell.recommender, "point": cell.point}
            row |= {"split_seed": cell.split_seed} if self.plan.repeat_splits > 1 else {}
            row |= {f"valid_{VALIDATED_ON}": value, "chosen": number == place}
            row["failed"] = tried[number][1] is None
            row["at_edge"] = " ".join(at_edge(group.space, group.points[number]))
            self.outcome.tried.append(row)
        return None if place is None else tried[place][0]

    def _cell(self, cell: Cell, wanted: bool) -> Finished | None:
        """The finished cell, run first where it is ``wanted``; None when there is none."""
        label, path = _label(cell), None
        try:
            path = self.path(cell)
            if path in self.known:
                return self.known[path]
            self.state.cell, self.state.detail = label, ""
            self.progress(self.state)
            if wanted and not path.exists():
                self._fit(cell, path)
            self.known[path] = self._finished(cell, path) if path.exists() else None
            self.state.done += 1
            return self.known[path]
        except Exception as error:  # one cell's failure is its own
            broken = path is not None and path.exists()  # is said also where nothing is to be run
            if (wanted or broken) and label not in self.known:
                self._fail(cell, one_line(error))
                self.state.done += 1
            self.known[label] = None
            return None

    def _finished(self, cell: Cell, path: Path) -> Finished:
        """The cell's run. Raises RunError unless it has the metrics that the plan names."""
        found = Finished(cell, path)
        valid, test = found.metrics("valid"), found.metrics("test")
        lost = [name for name in self.plan.metrics if name not in test]
        lost += [VALIDATED_ON] if VALIDATED_ON not in valid else []
        if lost:
            raise RunError(f"the run {path} is broken: no {lost[0]}; delete it to train it again")
        return found

    def _fit(self, cell: Cell, path: Path) -> None:
        entry, features = self.plan.datasets[cell.dataset], self.plan.features[cell.features]
        data = self.artifacts.data(cell.dataset)
        specs = self.artifacts.specs(cell.dataset, cell.features)
        job = TrainJob(
            data=data,
            images=None if features.end_to_end is None else entry.images,
            model=cell.model,
            code=self.code,
            features=specs,
            control=cell.arm,
            end_to_end=self._end_to_end(features.end_to_end),
            settings=cell.settings,
            split=entry.rule_of(cell.split_seed),
            unknown_items=entry.unknown_items,
            ignore_weights=entry.ignore_weights,
            training=replace(cell.training, device=self.device or cell.training.device),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.artifacts.journal.attempt(path.name) as advanced:

            def progress(state: TrainProgress) -> None:
                advanced()
                reached = state.valid.get(VALIDATED_ON, math.nan)
                self._log(f"epoch {state.epoch}  {VALIDATED_ON} {reached:.4f}")

            reset_peaks(usable_device(job.training.device))
            fit(job, path, progress=progress, log=self._log)

    def _end_to_end(self, spec: EndToEndEntry | None) -> EndToEndJob | None:
        if spec is None:
            return None
        pixels = self.out / "cache" / "pixels"
        return EndToEndJob(spec.encoder, spec.weights, spec.tokenizer, pixels, spec.options)

    def _fail(self, cell: Cell, reason: str) -> None:
        label = _label(cell)
        self.outcome.failures.append({"cell": label, "reason": reason})
        self.state.failed += 1
        if not self.idle:  # the folder is another process's
            self._write_failures()
        self.progress(self.state)

    def _write_failures(self) -> None:
        text = json.dumps(self.outcome.failures, indent=2, ensure_ascii=False)
        write_text(self.out / "failures.json", text + "\n")

    def _log(self, detail: str) -> None:
        self.state.detail = detail
        self.progress(self.state)

    def _status(self, cell: Cell) -> str:
        try:
            return "finished" if self.path(cell).exists() else "to do"
        except Exception as error:
            return one_line(error)


def _label(cell: Cell) -> str:
    return f"{cell.name} {cell.point}".strip()

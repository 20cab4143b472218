"""Whether a job reads what a run was made from; see ``mmx.recommend.contents``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmx.errors import RunError

READ_BY = {  # options that say what is read: where one of them was given, other contents are meant
    "items": ("data", "encoding", "delimiter"),
    "interactions": ("data", "encoding", "delimiter", "unknown_items", "ignore_weights"),
    "features": ("features",),
    "catalogue": ("data", "images", "encoder", "weights", "tokenizer"),
}
NAMES = {
    "items": "items",
    "interactions": "interactions",
    "catalogue": "pictures, texts or encoder",
}
OF_STORE = ("encoder", "parameters_sha256", "dimension")


@dataclass(frozen=True)
class Expected:
    """What a run was made from, and which options a job has of its own instead of the run's."""

    run: str  # as messages name it
    inputs: Mapping[str, Any] = field(default_factory=dict)  # none of runs that are older
    features: tuple[Mapping[str, Any], ...] = ()  # the run's records of them
    given: frozenset[str] = frozenset()

    def compare(
        self,
        inputs: Mapping[str, Any],
        features: list[dict[str, Any]],
        log: Callable[[str], None],
    ) -> None:
        """Raise RunError for other contents, or say so where an option was given that means them.

        ``inputs`` and ``features`` are those of the job, as config.json has them.
        """
        if not self.inputs:
            log(f"{self.run} is of an older mmx, which kept no digests of what it read; whether "
                "that has changed cannot be seen")  # fmt: skip
        for part, what in self._differences(inputs, features):
            if self.given.intersection(READ_BY[part]):
                log(f"not those of {self.run}: {what}")
                continue
            option = READ_BY[part][0]
            raise RunError(
                f"{self.run} cannot be repeated: {what}; give what it was trained on, or train on "
                f"this by --{option} beside --config"
            )

    def _differences(
        self, inputs: Mapping[str, Any], features: list[dict[str, Any]]
    ) -> Iterator[tuple[str, str]]:
        """The part and what is different, in words."""
        for part, name in NAMES.items():
            then, now = self.inputs.get(part), inputs.get(part)
            if then and now and (said := _difference(then, now)):
                yield part, f"{name}: {said}"
        for record in features:
            then = next((o for o in self.features if o["modality"] == record["modality"]), None)
            said = None if then is None else self._other(record, then, inputs)
            if said:
                yield "features", f"{record['modality']} vectors of {record['store']}: {said}"

    def _other(
        self, now: Mapping[str, Any], then: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> str | None:
        """In what the vectors of a modality differ."""
        for name in OF_STORE:
            if now[name] != then.get(name):
                return f"{name} {str(now[name])[:40]} instead of {str(then.get(name))[:40]}"
        read = (each.get("features", {}).get(now["modality"]) for each in (self.inputs, inputs))
        before, after = read
        return _difference(before, after) if before and after else None


def _difference(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    if then.get("rows") != now["rows"]:
        return f"{now['rows']} instead of {str(then.get('rows'))[:20]}"
    if then.get("sha256") != now["sha256"]:
        return f"as many as then ({now['rows']}), with other contents"
    columns = then.get("columns") or {}
    if ("weight" in columns) != ("weight" in now.get("columns", {})):
        return "weights where there were none, or none where there were"
    for name, digest in now.get("columns", {}).items():
        if columns.get(name, digest) != digest:
            return f"other values of {name}"
    return None

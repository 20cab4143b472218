"""How an extraction runs, and what it reports in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmx.bounds import check_options, whole
from mmx.cache.schema import DTYPES, MISSING, OK
from mmx.errors import OptionError, one_of
from mmx.files import Place
from mmx.kinds import must_be_switches

MOST_THREADS = 1024  # threads


@dataclass(frozen=True)
class ExtractOptions:
    """How to run. Only ``precision`` changes a vector, and it is in the card."""

    batch_size: int | None = None  # items; None: found by mmx.extract.tuning
    decode_threads: int | None = None  # decoding threads, at most one for each core, as by default
    part_size: int | None = None  # rows of a part; a kill costs two parts; None: by batch size
    precision: str | None = None  # "auto", or one by name, from float32; None: the encoder's own
    compile: bool = False  # the image pass through torch.compile
    dtype: str = "float32"  # of the stored numbers: float32 or float16
    max_file_rows: int | None = None  # rows; a larger store is a folder; None: see merge
    retry_failed: bool = False  # encode rows with a failure again, though their input is the same
    overwrite: bool = False  # encode all again; a store and parts of other jobs are replaced
    prune: bool = False  # drop rows of items that the items table no longer has
    decode_processes: int | None = None  # in place of threads; 0: never; None: where it is faster

    def __post_init__(self) -> None:
        check_options(
            self,
            batch_size=whole(1),
            decode_threads=whole(1, MOST_THREADS),
            decode_processes=whole(0, MOST_THREADS),
            part_size=whole(1),
            max_file_rows=whole(1),
        )
        must_be_switches(self, "compile", "retry_failed", "overwrite", "prune")
        one_of("--dtype", self.dtype, DTYPES)
        if self.overwrite and self.retry_failed:
            raise OptionError("--overwrite encodes everything again; drop --retry-failed")


@dataclass
class ExtractReport:
    """What an extraction did."""

    store: Place
    items: int
    encoded: int = 0
    reused: int = 0
    removed: int = 0
    seconds: float = 0.0
    bottleneck: str = "encoding"
    rates: dict[str, float] = field(default_factory=dict)  # stage → items/s it could pass
    waited: dict[str, float] = field(default_factory=dict)  # stage → s the others waited for it
    precision: str = "float32"
    accuracy: dict[str, Any] | None = None  # of a lower precision, see mmx.extract.precision
    batch_size: int | None = None  # None where nothing was encoded
    note: str = ""  # what the user should know of how it ran
    statuses: dict[str, dict[str, int]] = field(default_factory=dict)  # modality → status → rows
    examples: dict[str, list[str]] = field(default_factory=dict)  # reason → some that failed now

    @property
    def failures(self) -> dict[str, int]:
        """Rows that could not be encoded, by "modality: reason"; most frequent first."""
        return {
            f"{modality}: {status}": rows
            for modality, statuses in self.statuses.items()
            for status, rows in statuses.items()
            if status not in (OK, MISSING)
        }

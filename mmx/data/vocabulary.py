"""External ids to row numbers and back: the only place that maps them."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmx.errors import OptionError, UnknownIdError, first_few, one_of


class Vocabulary:
    """An ordered set of external ids; the number of an id is its place in it."""

    def __init__(self, ids: pa.Array | pa.ChunkedArray | Sequence[str], kind: str = "id") -> None:
        """``kind`` ("user", "item") is the word error messages use. Raises on repeated ids."""
        array = id_array(ids)
        self.ids: pa.Array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
        self.kind = kind
        if pc.count_distinct(self.ids).as_py() != len(self.ids):
            raise UnknownIdError(f"{kind} ids are not unique; keep one row each")

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, value: str) -> bool:
        return pc.index(self.ids, value).as_py() >= 0

    def numbers(
        self,
        ids: pa.Array | pa.ChunkedArray | Sequence[str],
        missing: Literal["error", "negative"] = "error",
    ) -> np.ndarray:
        """Row numbers (n,) int64 of external ids.

        ``missing`` says what an unknown id means: UnknownIdError, or the number -1.
        """
        one_of("missing", missing, ("error", "negative"))
        wanted = id_array(ids)
        found = pc.index_in(wanted, value_set=self.ids)
        if isinstance(found, pa.ChunkedArray):
            found = found.combine_chunks()
        if missing == "error" and found.null_count:
            unknown = pc.unique(wanted.filter(pc.is_null(found))).to_pylist()
            hint = self._hint(str(unknown[0]))
            raise UnknownIdError(f"unknown {self.kind}: {first_few(unknown)}{hint}")
        return pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def externals(self, numbers: np.ndarray) -> pa.Array:
        """External ids of row numbers; a negative number is a mistake and raises."""
        if numbers.size and (numbers.min() < 0 or numbers.max() >= len(self)):
            raise UnknownIdError(f"{self.kind} numbers reach outside 0..{len(self) - 1}")
        return self.ids.take(pa.array(numbers.ravel()))

    def _hint(self, unknown: str) -> str:
        """A close id, or what ids look like; looks at the first few thousand only."""
        sample = self.ids.slice(0, 2000).to_pylist()
        close = get_close_matches(unknown, sample, n=1)
        return (
            f"; did you mean '{close[0]}'?"
            if close
            else f"; {self.kind}s look like {first_few(sample)}"
        )


def id_array(ids: pa.Array | pa.ChunkedArray | Sequence[str]) -> pa.Array | pa.ChunkedArray:
    """Ids as text from a list of any kind: Python's, numpy's, pandas', Arrow's.

    Raises OptionError for a single text, which is not a list, and for ids that are not text.
    """
    if isinstance(ids, (str, bytes)):
        raise OptionError(f"{ids!r} is one id; a list of ids is expected, [{ids!r}]")
    try:
        array = ids if isinstance(ids, (pa.Array, pa.ChunkedArray)) else pa.array(list(ids))
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        if array.type not in (pa.string(), pa.large_string(), pa.string_view(), pa.null()):
            raise OptionError(f"ids are {array.type}; a list of texts is expected, such as ['7']")
        return array.cast(pa.string())
    except UnicodeEncodeError as error:
        raise OptionError(f"{error.object!r:.60} is not an id: text is expected, which UTF-8 can "
                          "write") from error  # fmt: skip
    except (pa.ArrowException, TypeError) as error:
        shown = str(ids)[:40]
        raise OptionError(f"{shown!r} is not a list of ids; texts are expected") from error


def repeated(ids: pa.ChunkedArray) -> list[str]:
    """The ids that occur more than once."""
    if pc.count_distinct(ids).as_py() == len(ids):
        return []
    counts = pc.value_counts(ids)
    return counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()

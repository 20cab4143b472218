"""From a published weights file to a model: what the file shows does not have to be given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import isqrt
from pathlib import Path

import torch
from torch import Tensor

from mmx.errors import EncoderError, first_few
from mmx.extract.vlmo.config import Family, VLMoConfig
from mmx.extract.vlmo.heads import MODULES, SCALES
from mmx.extract.vlmo.model import VLMo
from mmx.extract.vlmo.opening import open_state
from mmx.extract.vlmo.positions import resize_positions, resize_table, table_rows

TABLE, POSITIONS = "relative_position_bias_table", "transformer.pos_embed"
WORDS = "text_embeddings.position_embeddings.weight"
PATCHES, ANSWERS = "transformer.patch_embed.proj.weight", "vqa_classifier.3.weight"
IMAGE_INDEX = "relative_position_index"
BACKBONE = ("transformer.", "text_embeddings.", "token_type_embeddings.", TABLE)
RECOMPUTED = (  # held by some published files, worked out again here
    IMAGE_INDEX,
    "text_relative_position_index",
    "text_imag_relative_position_index",
    "text_embeddings.position_ids",
)
HEADS_BY_WIDTH = {544: 16}  # published abspos models; their files do not show the number


def load(
    path: str | Path,
    config: VLMoConfig | None = None,
    image_size: int | None = None,
    *,
    heads: int | None = None,
) -> VLMo:
    """Read a VLMo checkpoint as float32, in eval mode.

    The sizes come from the file's names and shapes. Only the number of attention heads of an
    abspos file of unpublished width must be given, by ``heads`` or ``config``. ``image_size``
    (px), else the config's, else the file's own is what the model will take; position tables
    are resampled to it by the official rules (mmx.extract.vlmo.positions). Texts may have 40
    tokens, as in the official configurations, or as many as the config says and the file has.

    Raises EncoderError for a file that cannot be read, is not a VLMo or contradicts ``config``.
    """
    file = _File(str(path), open_state(Path(path)))
    found = file.config(config, heads or (config.heads if config else None))
    size = image_size or (config.image_size if config else found.image_size)
    wanted = replace(found, image_size=size)
    with torch.device("meta"):  # shapes only; every tensor comes from the file
        model = VLMo(wanted, file.heads(), source=str(path))
    model.load_state_dict(_fitted(file, found, wanted, model), assign=True)
    return model.eval()


@dataclass(frozen=True)
class _File:
    """A checkpoint's tensors and what their names and shapes say."""

    name: str
    state: dict[str, Tensor]

    def heads(self) -> list[str]:
        """The heads whose modules are all there."""
        modules = {key.split(".")[0] for key in self.state}
        return [head for head, needed in MODULES.items() if modules.issuperset(needed)]

    def config(self, given: VLMoConfig | None, heads: int | None) -> VLMoConfig:
        """The file's own sizes; ``given`` fills in what a file cannot show."""
        width, patch = self._size("transformer.cls_token", -1), self._size(PATCHES, -1)
        depth, start = self._blocks()
        known = given or VLMoConfig(width, depth, 1, start, patch, patch)
        grid, table_text_len = self._grid(known.table_text_len)
        found = replace(
            known,
            width=width,
            depth=depth,
            heads=self._attention_heads(width, depth, heads),
            vlffn_start=start,
            image_size=grid * patch,
            patch_size=patch,
            max_text_len=min(known.max_text_len, self._text_len(table_text_len)),
            family=self.family,
            table_text_len=table_text_len,
            layer_scale="transformer.blocks.0.gamma_1" in self.state,
            hidden=self._size("transformer.blocks.0.mlp_imag.fc1.weight"),
            vocab_size=self._size("text_embeddings.word_embeddings.weight"),
            token_types=self._size("token_type_embeddings.weight"),
            answers=self._size(ANSWERS) if ANSWERS in self.state else known.answers,
        )
        if given is not None:
            self._agree(given, found)
        return found

    @property
    def family(self) -> Family:
        """Which of the two position schemes the file has."""
        if POSITIONS in self.state or TABLE in self.state:
            return "abspos" if POSITIONS in self.state else "relpos"
        raise EncoderError(f"{self.name} is not a VLMo: it has neither {TABLE} nor {POSITIONS}")

    def _size(self, key: str, dimension: int = 0) -> int:
        if key not in self.state or not self.state[key].dim():
            held = first_few(self.state)
            raise EncoderError(f"{self.name} is not a VLMo: it lacks {key} and holds {held}")
        return self.state[key].shape[dimension]

    def _blocks(self) -> tuple[int, int]:
        """(number of blocks, first block with a VL expert or that number where none has)."""
        names = [re.match(r"transformer\.blocks\.(\d+)\.(\w+)", key) for key in self.state]
        blocks = {(int(m[1]), m[2]) for m in names if m}
        depth = 1 + max((number for number, _ in blocks), default=-1)
        return depth, min((n for n, module in blocks if module == "mlp_vl"), default=depth)

    def _grid(self, table_text_len: int) -> tuple[int, int]:
        """(patches along one side, text length of the bias table)."""
        if self.family == "abspos":
            return self._root(self._size(POSITIONS, -2) - 1, "image positions"), table_text_len
        rows = self._size(TABLE)
        if IMAGE_INDEX in self.state:  # shows the grid whatever text length the table is for
            grid = self._root(self._size(IMAGE_INDEX) - 1, "patches")
            table_text_len = (rows - table_rows(grid, 0)) // 2
        else:
            grid = (self._root(rows - 2 * table_text_len - 5, "relative positions") + 1) // 2
        if table_rows(grid, table_text_len) != rows:
            raise EncoderError(f"{self.name}: a bias table of {rows} rows fits no square image")
        return grid, table_text_len

    def _root(self, count: int, what: str) -> int:
        root = isqrt(max(count, 0))
        if root < 1 or root * root != count:
            raise EncoderError(f"{self.name}: {count} {what} are not a square; is it a VLMo?")
        return root

    def _attention_heads(self, width: int, depth: int, heads: int | None) -> int:
        if self.family == "relpos":
            columns = self._size(TABLE, -1)
            if not depth or columns % depth or width % (columns // depth):
                raise EncoderError(
                    f"{self.name}: {columns} columns of {TABLE} do not fit {depth} blocks of "
                    f"width {width}"
                )
            return columns // depth
        heads = heads or HEADS_BY_WIDTH.get(width)
        if heads is None:
            raise EncoderError(
                f"{self.name} has width {width} and position embeddings, which do not show the "
                "number of attention heads; pass load(path, heads=…) or a VLMoConfig"
            )
        return heads

    def _text_len(self, table_text_len: int) -> int:
        """The longest text that the file has positions for."""
        return self._size(WORDS) if self.family == "abspos" else table_text_len

    def _agree(self, given: VLMoConfig, found: VLMoConfig) -> None:
        for name in ("width", "depth", "heads", "vlffn_start", "patch_size"):
            said, there = getattr(given, name), getattr(found, name)
            if name == "vlffn_start" and there == found.depth:
                continue  # a file from before vision-language training has no VL experts yet
            if said != there:
                raise EncoderError(
                    f"{self.name} has {name} {there}, the config says {said}; leave config out"
                )


def _fitted(file: _File, found: VLMoConfig, wanted: VLMoConfig, model: VLMo) -> dict[str, Tensor]:
    """The tensors the model has, positions resampled, with every name and shape checked."""
    state = {key: value for key, value in file.state.items() if key not in RECOMPUTED}
    words = state.pop(WORDS, None)  # in relpos files, but never used there
    if wanted.family == "relpos":
        state[TABLE] = resize_table(state[TABLE], found.grid, wanted.grid)
    else:
        state[POSITIONS] = resize_positions(state[POSITIONS], found.grid, wanted.grid)
        if words is not None:
            state[WORDS] = words[: wanted.max_text_len]
    for head in set(model.heads) & set(SCALES):
        state.setdefault(SCALES[head], torch.tensor(1 / 0.07).log())
    expected = {key: value.shape for key, value in model.state_dict().items()}
    _check(expected, {key: value.shape for key, value in state.items()}, model.source)
    return {key: state[key] for key in expected}


def _check(expected: dict[str, torch.Size], there: dict[str, torch.Size], source: str) -> None:
    missing = [key for key in expected if key not in there]
    extra = [key for key in there if key not in expected and key.startswith(BACKBONE)]
    wrong = [key for key in expected if key in there and there[key] != expected[key]]
    if missing:
        raise EncoderError(f"{source} lacks {first_few(missing)}; it is incomplete or not a VLMo")
    if extra:
        raise EncoderError(f"{source} has {first_few(extra)}, which no VLMo has")
    if wrong:
        key, shape = wrong[0], tuple(expected[wrong[0]])
        raise EncoderError(
            f"{source}: {first_few(wrong)} do not fit; {key} is {tuple(there[key])}, "
            f"expected {shape}"
        )

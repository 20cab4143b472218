"""``mmx train --end-to-end``: open the encoder for training, write what it became."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmx.data.dataset import Items
from mmx.extract.encoder import Encoder
from mmx.extract.encoders import open_encoder, refuse_own
from mmx.extract.finetune.trainable import choose_parameters, merged_state, open_trainable
from mmx.extract.pipeline import extract
from mmx.extract.pixels import cached_pixels
from mmx.extract.sources import source_for
from mmx.extract.sources.web import Web
from mmx.files import as_path
from mmx.kinds import must_be
from mmx.recommend.end_to_end.catalogue import Catalogue
from mmx.recommend.end_to_end.options import EndToEndOptions
from mmx.torch_files import save_tensors


@dataclass(frozen=True)
class EndToEndJob:
    """Which encoder is trained with the recommender, and how."""

    encoder: str  # as --model of mmx extract
    weights: Path | str | None = None  # to start from; None: what the name fetches
    tokenizer: Path | str | None = None  # vlmo: a local vocab.txt
    pixels: Path | str = Path("cache/pixels")  # decoded pictures
    options: EndToEndOptions = field(default_factory=EndToEndOptions)
    web: Web = field(default_factory=Web)  # how pictures are fetched

    def __post_init__(self) -> None:
        must_be("encoder", self.encoder, str)
        refuse_own(self.encoder)
        must_be("options", self.options, EndToEndOptions)
        must_be("web", self.web, Web)
        for name in ("weights", "tokenizer", "pixels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_path(getattr(self, name)))

    def open(
        self,
        items: Items,
        order: np.ndarray,
        device: str,
        seed: int,
        log: Callable[[str], None],
    ) -> Catalogue:
        """The catalogue through the encoder, with the parameters that train chosen.

        ``order`` (items,) are the rows of the items table by the numbers of the items. Raises
        OptionError for an encoder that is not of images and texts, DataError when no item has a
        picture, or none a text.
        """
        encoder = self._encoder(self.weights, device)
        trainable = open_trainable(encoder)
        torch.manual_seed(seed)  # adapters are drawn from torch's own generator
        choose_parameters(trainable, self.options.tune)
        assert encoder.image_rule is not None
        log(f"decoded pictures of {len(items)} items are kept in {self.pixels}")
        pixels = cached_pixels(items, encoder.image_rule, as_path(self.pixels), web=self.web)
        return Catalogue(trainable, items, pixels, order)

    def description(self, catalogue: Catalogue) -> dict[str, Any]:
        """What a run's config says of it."""
        card = catalogue.trainable.encoder.card
        return {
            "encoder": self.encoder,
            "parameters_sha256": card.parameters_sha256,
            "weights": None if self.weights is None else str(self.weights),
            **({} if self.tokenizer is None else {"tokenizer": str(self.tokenizer)}),
            **asdict(self.options),
            "items_with_vector": {m: int(p.sum()) for m, p in catalogue.present.items()},
            "items": len(catalogue.items),
        }

    def write(self, folder: Path, catalogue: Catalogue, state: Mapping[str, torch.Tensor]) -> None:
        """Put the trained encoder and its embeddings of all items into a run's folder.

        ``encoder/`` is what ``mmx extract --weights`` takes, ``features.parquet`` an ordinary
        store. ``state`` are the encoder's parameters at the best epoch.
        """
        model = catalogue.trainable.model
        model.load_state_dict(state)
        (folder / "encoder").mkdir()
        save_tensors(merged_state(model), folder / "encoder" / "model.safetensors")
        card = json.loads(catalogue.trainable.encoder.card.to_json())
        text = json.dumps({"end_to_end": self.encoder, "card": card}, indent=2)
        (folder / "encoder" / "config.json").write_text(text + "\n", encoding="utf-8")
        tuned = self._encoder(folder / "encoder", str(catalogue.trainable.hardware.device))
        source = source_for(catalogue.items, self.web)
        extract(catalogue.items, tuned, folder / "features.parquet", source=source)

    def _encoder(self, weights: Path | str | None, device: str) -> Encoder:
        options: dict[str, Any] = {} if self.tokenizer is None else {"tokenizer": self.tokenizer}
        return open_encoder(
            self.encoder, weights=weights, device=device, precision="float32",
            modalities=("image", "text"), **options,
        )  # fmt: skip

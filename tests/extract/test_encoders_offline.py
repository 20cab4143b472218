"""Encoders whose weights are elsewhere, where there is no network."""

from __future__ import annotations

import logging
import socket
import time
import urllib.error
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch.hub

from mmx.errors import EncoderError
from mmx.extract import hub
from mmx.extract.encoders import open_encoder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine without a network that has fetched nothing yet."""

    def refuse(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    def refuse_url(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse_url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "")


REMOTE = [
    "clip",
    "clip:ViT-B-32/laion400m_e31",
    "clip:hf-hub:nobody/nothing",
    "clip:hf:openai/clip-vit-base-patch16",
    "clip:hf:google/siglip-base-patch16-224",
    "timm:resnet50",
    "torchvision:squeezenet1_1",
    "sbert:all-mpnet-base-v2",
    "sbert:nobody/nothing",
]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("spec", REMOTE)
def test_one_clear_line_and_soon(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    start = time.perf_counter()
    with pytest.raises(EncoderError, match=r"cannot be reached.*--weights PATH") as error:
        open_encoder(spec, log=lines.append)
    assert time.perf_counter() - start < 40  # the client's own retries take 45 seconds a file
    assert "\n" not in str(error.value)
    assert spec in str(error.value)
    assert lines == [] or "fetched once" in lines[0]
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("no_network")
def test_offline_mode_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(EncoderError, match="HF_HUB_OFFLINE is set"):
        open_encoder("timm:resnet50")
    assert huggingface_hub.constants.HF_HUB_OFFLINE is True


def test_reachable_knocks_at_the_proxy_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    doors = []

    class Door:
        def close(self) -> None: ...

    def knock(address: tuple[str, int], timeout: float) -> Door:
        doors.append(address)
        return Door()

    monkeypatch.setattr(socket, "create_connection", knock)
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert hub.reachable("https://example.org/a/b")
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert hub.reachable("https://example.org")
    monkeypatch.setenv("no_proxy", "example.org")
    assert hub.reachable("https://example.org:8443")
    assert doors == [("example.org", 443), ("proxy.example", 3128), ("example.org", 8443)]


def test_quiet_leaves_logging_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (list(root.handlers), logging.root.manager.disable)
    with hub.quiet():
        logging.warning("not shown")
    assert (list(root.handlers), logging.root.manager.disable) == before
    assert capfd.readouterr().err == ""


def test_an_error_of_another_kind_keeps_its_reason() -> None:
    with (
        pytest.raises(EncoderError, match=r"^it cannot be loaded \(too small\); make it larger$"),
        hub.loading("it", "make it larger", remote=False),
    ):
        raise RuntimeError("\ntoo small\nand more")
    with pytest.raises(ZeroDivisionError), hub.loading("it", "fix", remote=False):
        raise ZeroDivisionError  # a mistake in the program is not hidden

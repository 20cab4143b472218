"""``mmx doctor`` says what is broken, too old or missing, and works when torch does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mmx.cli.doctor import _module
from mmx.cli.doctor_places import caches
from mmx.cli.doctor_places import hub as hub_row
from tests.cli.fake_machine import ROOT, TORCH, Machine

pytestmark = pytest.mark.slow

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAIR = "pip install --upgrade torch torchvision"
SYMBOL = "raise OSError('libx.so: undefined symbol: _ZN3c10')"
HEAVY = (
    "torchvision", "open_clip", "timm", "transformers", "sentence_transformers", "accelerate",
    "peft", "faiss", "scipy", "duckdb",
)  # fmt: skip
PLAIN = TORCH.format(cuda="13.0", gpus=0)


@pytest.fixture
def hub() -> Iterator[tuple[str, list[str]]]:
    """A server, and the methods that it was asked with."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.command)
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        do_GET = do_HEAD  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


@pytest.fixture
def machine(tmp_path: Path, hub: tuple[str, list[str]]) -> Machine:
    """One where all is well, with quick stand-ins for the packages that take long."""
    made = Machine(tmp_path, hub[0])
    for name in HEAVY:
        made.module(name)
    made.module("torch", PLAIN)
    made.package("mmx", "0.1.0", *PROJECT["dependencies"])
    made.package("torch", "2.99.0")
    made.package("torchvision", "0.99.0", "torch (==2.99.0)")
    return made


def test_all_is_well(machine: Machine, hub: tuple[str, list[str]]) -> None:
    answer = machine.doctor()
    assert answer.code == 0
    assert {row["to_do"] for row in answer.rows.values() if "cache" not in row["check"]} == {""}
    assert {"mmx", "python", "torch", "pyarrow", "model hub", "cache of mmx"} <= answer.rows.keys()
    pair = answer.rows["torch and torchvision"]["found"]
    assert pair == "torchvision 0.99.0 is for torch ==2.99.0, and torch is 2.99.0"
    assert answer.rows["gpu"]["found"] == "none: Found no driver"
    assert answer.rows["cpu"]["found"].startswith("3 threads, ")
    assert answer.rows["model hub"]["found"] == f"{hub[0]} answers (302)"
    assert hub[1] == ["HEAD"]
    assert str(machine.path / "home" / "mmx") in answer.rows["cache of mmx"]["found"]
    hub_cache = machine.path / "home" / "huggingface" / "hub"
    assert str(hub_cache) in answer.rows["cache of the hub"]["found"]


def test_torch_is_broken(machine: Machine) -> None:
    machine.module("torch", SYMBOL)
    machine.module("timm", "import torch")
    answer = machine.doctor()
    assert answer.code == 1
    assert "OSError: libx.so: undefined symbol" in answer.rows["torch"]["found"]
    assert answer.rows["torch"]["to_do"] == PAIR
    assert answer.rows["timm"]["found"].endswith("its import fails in torch")
    assert answer.rows["timm"]["to_do"] == answer.rows["devices"]["to_do"] == "see torch"
    (line,) = answer.errors
    assert line.endswith("checks failed: torch, timm, torch and torchvision, devices")


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), 11)", "raise SystemExit"])
def test_an_import_that_ends_its_process(machine: Machine, end: str) -> None:
    machine.module("open_clip", f"import os; {end}")
    machine.module("peft", SYMBOL)
    answer = machine.doctor()
    assert {name for name, row in answer.rows.items() if not row["ok"]} == {
        "open_clip_torch",
        "peft",
    }
    assert answer.rows["open_clip_torch"]["to_do"] == "pip install --upgrade 'open_clip_torch>=3.3'"


def test_torchvision_is_for_another_torch(machine: Machine) -> None:
    machine.module("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    machine.package("torchvision", "0.99.0", "torch (==2.98.0)")
    answer = machine.doctor()
    pair = answer.rows["torch and torchvision"]
    assert (pair["ok"], pair["to_do"]) == (False, PAIR)
    assert pair["found"] == "torchvision 0.99.0 is for torch ==2.98.0, and torch is 2.99.0"
    assert "nms does not exist" in answer.rows["torchvision"]["found"]


def test_a_build_for_the_cpu_fits_by_its_version_and_may_not_import(machine: Machine) -> None:
    shutil.rmtree(machine.path / "torch-2.99.0.dist-info")
    machine.package("torch", "2.99.0+cpu")
    assert machine.doctor().code == 0
    machine.module("torchvision", "raise RuntimeError('operator torchvision::nms does not exist')")
    pair = machine.doctor().rows["torch and torchvision"]
    assert pair["found"].endswith("and torch is 2.99.0+cpu; the import fails")
    assert pair["to_do"] == f"{PAIR} --index-url https://download.pytorch.org/whl/cpu"


def test_a_package_is_too_old_or_absent(machine: Machine) -> None:
    machine.package("timm", "0.9.0")
    needs = [*PROJECT["dependencies"], "nothing-of-this-name>=2"]
    machine.package("mmx", "0.1.0", *needs)
    answer = machine.doctor()
    floor = next(line for line in needs if line.startswith("timm"))
    assert answer.rows["timm"]["found"] == f"0.9.0 does not fit (needs {floor[4:]})"
    assert answer.rows["timm"]["to_do"] == f"pip install --upgrade '{floor}'"
    assert answer.rows["nothing-of-this-name"]["found"] == "not installed (needs >=2)"
    (line,) = answer.errors
    assert line.endswith("checks failed: timm, nothing-of-this-name")


def test_a_package_of_another_platform(machine: Machine) -> None:
    machine.package("mmx", "0.1.0", "no-faiss", "faiss-cpu>=1; python_version < '3'")
    assert "faiss-cpu" not in machine.doctor().rows


def test_extras(machine: Machine) -> None:
    extras = ('fsspec[http]>=1; extra == "web"', 'no-such>=1; extra == "odd"')
    names = ("web", "odd", "dev")
    machine.package("mmx", "0.1.0", "fsspec", *extras, extras=names)
    machine.package("fsspec", "2099.1", 'aiohttp; extra == "http"', 'x; extra == "s3"')
    machine.package("aiohttp", "99.0")
    answer = machine.doctor()
    assert answer.code == 0
    assert answer.rows["extra web"]["found"] == "fsspec 2099.1, aiohttp 99.0"
    assert answer.rows["extra web"]["to_do"] == ""
    assert answer.rows["extra odd"]["found"] == "no-such is missing"
    assert answer.rows["extra odd"]["to_do"] == "pip install 'no-such>=1'"
    assert "extra dev" not in answer.rows
    machine.package("fsspec", "2099.1", 'aiohttp-absent; extra == "http"')
    assert machine.doctor().rows["extra web"]["to_do"] == "pip install 'fsspec[http]>=1'"


def test_gpus(machine: Machine) -> None:
    machine.module("torch", TORCH.format(cuda="13.0", gpus=2))
    rows = machine.doctor().rows
    assert rows["gpu cuda:1"]["found"] == "Fast GPU, 80.0 GiB; native bfloat16"
    assert "gpu" not in rows


def test_a_build_for_the_cpu_says_so(machine: Machine) -> None:
    machine.module("torch", TORCH.format(cuda=None, gpus=0))
    assert machine.doctor().rows["gpu"]["found"] == "none: torch 2.99.0 is a build for the CPU"


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "not a url", "file:///etc"])
def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", url)
    monkeypatch.setenv("HF_HOME", "/nowhere")
    _, found, to_do = hub_row()
    assert found.startswith(f"{url}: no answer (")
    assert "/nowhere/hub" in to_do
    assert "HF_HUB_OFFLINE" in to_do


def test_offline(machine: Machine, hub: tuple[str, list[str]]) -> None:
    answer = machine.doctor(HF_HUB_OFFLINE="1")
    row = answer.rows["model hub"]
    assert row["found"] == "not contacted: HF_HUB_OFFLINE is set"
    assert str(machine.path / "home/huggingface/hub") in row["to_do"]
    assert (answer.code, hub[1]) == (0, [])


def test_table_and_quiet(machine: Machine) -> None:
    shown = machine.run()
    for title in ("check", "found", "to do", "torch and torchvision"):
        assert title in shown.stdout
    assert "takes some seconds" in shown.stderr
    quiet = machine.run("-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert "torch and torchvision" in quiet.stdout


def test_the_command_itself_imports_no_torch(machine: Machine) -> None:
    machine.module("torch", "raise SystemExit('torch was imported')")
    assert machine.run("--help").returncode == 0
    assert machine.doctor().rows["torch"]["found"].endswith("(exit code 1)")


@pytest.mark.parametrize(
    "env", [{}, {"HF_HOME": "/a"}, {"HF_HUB_CACHE": "~/b"}, {"XDG_CACHE_HOME": "/c"}]
)
def test_weights_are_where_huggingface_hub_keeps_them(env: dict[str, str]) -> None:
    code = (
        "from huggingface_hub import constants; from mmx.cli.doctor_places import hub_cache; "
        "assert str(hub_cache()) == constants.HF_HUB_CACHE, constants.HF_HUB_CACHE"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "XDG_", "HUGGING"))}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**clean, **env}, check=True)


def test_a_cache_that_cannot_be_named_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", "~nobody-of-this-name/x")
    rows = {title: (found, to_do) for title, found, to_do in caches()}
    assert "home directory" in rows["cache of the hub"][0]
    assert "HF_HUB_CACHE" in rows["cache of the hub"][1]
    assert len(rows) == 3


def test_what_is_imported_of_each_package() -> None:
    owners = metadata.packages_distributions()
    for line in PROJECT["dependencies"]:
        name = Requirement(line).name
        assert canonicalize_name(name) in map(canonicalize_name, owners[_module(name)])


def test_this_machine(tmp_path: Path) -> None:
    """With the packages that are here: their versions, and all of them can be imported."""
    machine = Machine(tmp_path, "http://127.0.0.1:9")
    machine.package("mmx", "0.1.0", *PROJECT["dependencies"])
    answer = machine.doctor()
    assert answer.code == 0, answer.errors
    for name in ("torch", "duckdb", "pyarrow"):
        assert answer.rows[name]["found"].startswith(metadata.version(name))
    assert "bfloat16" in answer.rows["cpu"]["found"]

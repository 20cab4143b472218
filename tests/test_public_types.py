"""What a type checker sees of the public names: mypy runs on lines of a user's program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = {  # a line of a program → what mypy must say of it; "" is nothing
    "reveal_type(mmx.fit)": 'note: Revealed type is "def (job: ',
    "reveal_type(mmx.encode)": 'note: Revealed type is "def (data: ',
    "reveal_type(mmx.evaluate)": 'note: Revealed type is "def (run: ',
    "reveal_type(mmx.top_k)": 'note: Revealed type is "def (run: ',
    "reveal_type(mmx.finetune)": 'note: Revealed type is "def (data: ',
    'reveal_type(mmx.fuse(["a", "b"]))': 'note: Revealed type is "mmx.recommend.run.Run"',
    'reveal_type(mmx.open_run("r"))': 'note: Revealed type is "mmx.recommend.run.Run"',
    'reveal_type(mmx.open_store("s").rows)': 'note: Revealed type is "int"',
    'reveal_type(mmx.finetune("d", "clip").valid)': 'note: Revealed type is "dict[str, float]"',
    "mmx.FinetuneOptions(epoch=1)": 'error: Unexpected keyword argument "epoch"',
    'mmx.fuse([mmx.open_run("r"), Path("s")], seed=1).metrics': "",
    "mmx.fitt": 'error: Module has no attribute "fitt"',
    'mmx.TrainJob(dat="d")': 'error: Unexpected keyword argument "dat" for "TrainJob"',
    'mmx.open_run("r").metricz': 'error: "Run" has no attribute "metricz"',
    'mmx.encode("d", "clip", image_sise=3)': 'error: Unexpected keyword argument "image_sise"',
    'mmx.open_encoder("clip", image_size="x")': 'error: Argument "image_size"',
    'mmx.fit(mmx.TrainJob("d", features="s.parquet"), Path("r"))': "",
    'mmx.fit(mmx.TrainJob(Path("d"), features=["a", Path("b"), mmx.FeatureSpec("c")]))': "",
    'mmx.TrainJob("d", split=mmx.SplitRule("temporal"), settings=["dim=8"])': "",
    'mmx.FeatureSpec("c", ["image"])': "",
    'mmx.EndToEndJob("clip", weights="w.pt", pixels="p")': "",
    'mmx.encode("d", "clip", Path("s"), weights="w.pt", mean=(0.5, 0.5, 0.5))': "",
    'mmx.evaluate("r", at=10).means["recall@10"].hex()': "",
    'mmx.top_k(Path("r"), "u", 5, only=["i"])': "",
    'mmx.open_sql("cache", stores=["s.parquet"]).ask("select 1")': "",
    'mmx.open_sql("cache", datasets="d")': "",
    'mmx.compare([mmx.open_run("r"), "s"], against="ease").notes': "",
    'mmx.export("d", "mmrec", "o", "s.parquet", split=mmx.SplitRule("random")).missing': "",
    'mmx.import_dataset("csv", "f", "o", mmx.ImportOptions(k_core=2)).bad_lines': "",
    'mmx.import_dataset("csv", "f", "o", k_core=2)': 'error: Unexpected keyword argument "k_core"',
    'mmx.fit(mmx.repeat("r", seed=1), tensorboard="logs")': "",
}
NO_THIRD_PARTY = """
[mypy]
ignore_missing_imports = true
[mypy-mmx.*]
ignore_errors = true
follow_imports = silent
""" + "".join(
    f"[mypy-{name}.*]\nfollow_imports = skip\nfollow_imports_for_stubs = true\n"
    for name in ("torch", "numpy", "pyarrow", "scipy", "duckdb", "httpx2", "fsspec", "PIL",
                 "safetensors", "transformers", "ray", "faiss", "timm", "torchvision")
)  # fmt: skip


@pytest.mark.slow
def test_lines_of_a_program(tmp_path: Path) -> None:
    program = ["from pathlib import Path", "import mmx", *LINES]
    (tmp_path / "program.py").write_text("\n".join(program) + "\n")
    (tmp_path / "mypy.ini").write_text(NO_THIRD_PARTY)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "program.py"],
        cwd=tmp_path, env={"MYPYPATH": str(ROOT), "PATH": ""},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    said: dict[int, str] = {}
    for line in done.stdout.splitlines():
        file, _, rest = line.partition(":")
        number, _, words = rest.partition(": ")
        if file == "program.py":
            said.setdefault(int(number), words)
    assert "program.py" in done.stdout, done.stdout + done.stderr
    for number, (line, expected) in enumerate(LINES.items(), start=3):
        assert said.get(number, "").startswith(expected), f"{line}: {said.get(number)}"
        assert bool(expected) == (number in said), f"{line}: {said.get(number)}"

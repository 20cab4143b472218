"""The pretended GPU sees what a real one would refuse, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.nn import functional as F

from tests.devices.fake_cuda import FakeCuda

N = 4


def on_gpu(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, device="cuda")


def a_wrong_sum() -> torch.Tensor:
    return on_gpu(N) + torch.rand(N)


def backward_of_two_devices() -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):  # type: ignore[no-untyped-def]
            return x * 2

        @staticmethod
        def backward(ctx, gradient):  # type: ignore[no-untyped-def]
            return gradient * torch.ones(N)

    x = on_gpu(N).requires_grad_()
    Wrong.apply(x).sum().backward()


WRONG: dict[str, Callable[[], object]] = {
    "sum": a_wrong_sum,
    "product": lambda: on_gpu(N, N) @ torch.rand(N, N),
    "view": lambda: on_gpu(N, N)[0].view(2, 2).T + torch.rand(2, 2),
    "in place": lambda: on_gpu(N).add_(torch.rand(N)),
    "after a move": lambda: torch.rand(N).to("cuda", torch.float64) * torch.rand(N),
    "after a move back": lambda: on_gpu(N).cpu() * on_gpu(N),
    "where": lambda: torch.where(torch.ones(N, dtype=torch.bool), on_gpu(N), 0.0),
    "embedding": lambda: F.embedding(torch.arange(N), on_gpu(N, 2)),
    "indexed by a GPU": lambda: torch.rand(N)[torch.arange(N, device="cuda")],
    "values put at an index": lambda: on_gpu(N).index_put_((torch.arange(2),), torch.rand(2)),
    "generator of the CPU": lambda: torch.rand(
        N, device="cuda", generator=torch.Generator().manual_seed(0)
    ),
    "generator of the GPU": lambda: torch.rand(N, generator=torch.Generator("cuda")),
    "drawn by weights": lambda: torch.multinomial(on_gpu(N), 1, generator=torch.Generator()),
    "numpy": lambda: on_gpu(N).numpy(),
    "numpy of a view": lambda: on_gpu(N, N).T[1:].numpy(),  # noqa: PLW0108 - there is no GPU yet
    "page-locked on the GPU": lambda: on_gpu(N).pin_memory(),
    "page-locked, expanded": lambda: torch.rand(1).expand(N).pin_memory(),
    "backward": backward_of_two_devices,
    "in a thread": lambda: ThreadPoolExecutor(1).submit(a_wrong_sum).result(),
    "module": lambda: torch.nn.Linear(N, 2).to("cuda")(torch.rand(1, N)),
}
RIGHT: dict[str, Callable[[], object]] = {
    "one device": lambda: (on_gpu(N, N) @ on_gpu(N, N)).softmax(1).sum().item(),
    "the CPU": lambda: torch.rand(N) + torch.rand(N),
    "a number": lambda: on_gpu(N) * torch.tensor(2.0),
    "a copy": lambda: on_gpu(N).copy_(torch.rand(N)),
    "indexed by the CPU": lambda: on_gpu(N)[torch.arange(2)],
    "like it": lambda: torch.zeros_like(on_gpu(N)) + on_gpu(N).new_ones(N),
    "back again": lambda: on_gpu(N).cpu().numpy(),
    "page-locked": lambda: torch.rand(N, 1).pin_memory().to("cuda"),
    "generator": lambda: torch.rand(N, device="cuda", generator=torch.Generator("cuda")),
    "a step": lambda: a_step("cuda"),
    "autocast": lambda: a_step("cuda", half=True),
    "the CPU's step": lambda: a_step("cpu"),
}


def a_step(device: str, half: bool = False) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(N, N), torch.nn.LayerNorm(N)).to(device)
    optimiser = torch.optim.Adam(model.parameters(), fused=True)
    with torch.autocast(device, torch.bfloat16, half):
        loss = model(torch.rand(N, N, device=device)).square().mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()


@pytest.mark.parametrize("what", WRONG)
def test_what_a_gpu_refuses(what: str) -> None:
    with FakeCuda() as gpu:
        WRONG[what]()
    assert len(gpu.mixed) == 1


@pytest.mark.parametrize("what", RIGHT)
def test_what_a_gpu_takes(what: str) -> None:
    with FakeCuda() as gpu:
        RIGHT[what]()
    assert gpu.mixed == []


N_BYTES = 4 * N
WAITS: dict[str, tuple[Callable[[], object], int]] = {  # and how many bytes come from the GPU
    "_local_scalar_dense": (lambda: bool(on_gpu(1) > 0), 0),
    "nonzero": (lambda: on_gpu(N).nonzero(), 0),
    "_unique2": (lambda: on_gpu(N).unique(), 0),
    "equal": (lambda: torch.equal(on_gpu(N), on_gpu(N)), 0),
    "bincount": (lambda: torch.bincount(on_gpu(N).long()), 0),
    "masked_select": (lambda: on_gpu(N).masked_select(on_gpu(N) > 0), 0),
    "multinomial": (lambda: torch.multinomial(on_gpu(N) + 1, 1), 0),
    "repeat_interleave": (lambda: on_gpu(N).repeat_interleave(on_gpu(N).long()), 0),
    "index by a mask": (lambda: on_gpu(N)[on_gpu(N) > 2], 0),
    "index by numbers of the CPU": (lambda: on_gpu(N)[torch.arange(2)], 0),
    "index_put_ by a mask": (lambda: put(on_gpu(N), on_gpu(N) < 2, on_gpu(N)), 0),
    "a copy to cpu": (lambda: on_gpu(N).cpu(), N_BYTES),
    "a copy to cpu again": (lambda: on_gpu(N).tolist(), N_BYTES),
    "a copy to cpu in place": (lambda: torch.rand(N).copy_(on_gpu(N)), N_BYTES),
    "a copy to cuda": (lambda: torch.rand(N).to("cuda"), 0),
    "a copy to cuda of a number": (lambda: torch.tensor(1.0, device="cuda"), 0),
    "a copy to cuda in place": (lambda: on_gpu(N).copy_(torch.rand(N)), 0),
    "the last mark": (lambda: wait_for(-1), 0),
}
WAITS_NOT: dict[str, Callable[[], object]] = {
    "numbers": lambda: on_gpu(N)[on_gpu(N).long()] + 2.0,
    "a mask filled": lambda: put(on_gpu(N), on_gpu(N) > 0, torch.tensor(1.0)),
    "a known size": lambda: on_gpu(2).repeat_interleave(on_gpu(2).long(), output_size=0),
    "sent": lambda: torch.rand(N).to("cuda", non_blocking=True),
    "sent in place": lambda: on_gpu(N).copy_(torch.rand(N), non_blocking=True),
    "on the GPU": lambda: on_gpu(N).copy_(on_gpu(N)).clone(),
    "a mark before the last": lambda: wait_for(0),
    "clipped": lambda: torch.nn.utils.clip_grad_norm_(with_gradients(), 1.0),
    "on the CPU": lambda: len(torch.rand(N)[torch.rand(N) > 0].tolist()),
}


def with_gradients() -> list[torch.Tensor]:
    tables = [on_gpu(N).requires_grad_(), on_gpu(N, N).requires_grad_()]
    for table in tables:
        table.square().sum().backward()
    return tables


def wait_for(place: int) -> None:
    marks = [torch.cuda.Event(), torch.cuda.Event()]
    for mark in marks:
        mark.record(torch.cuda.current_stream("cuda"))
    marks[place].synchronize()


def put(into: torch.Tensor, where: torch.Tensor, what: torch.Tensor) -> None:
    into[where] = what


@pytest.mark.parametrize("what", WAITS)
def test_what_waits_for_a_gpu(what: str) -> None:
    with FakeCuda() as gpu:
        WAITS[what][0]()
    assert len(gpu.waits) == 1
    assert what.startswith(gpu.waits[0].partition(" at ")[0])
    assert gpu.copied == WAITS[what][1]


@pytest.mark.parametrize("what", WAITS_NOT)
def test_what_does_not(what: str) -> None:
    with FakeCuda() as gpu:
        WAITS_NOT[what]()
    assert gpu.waits == []


def test_waiting_is_noted_and_all_is_as_before() -> None:
    before = torch.Tensor.to, torch.Generator, torch.tensor, torch.cuda.is_available()
    with FakeCuda() as gpu:
        x = on_gpu(N)
        assert (x.device, x.is_cuda, x[1:].device.type) == (torch.device("cuda:0"), True, "cuda")
        assert not gpu.waits
        x.sum().item()
        x.cpu()
        assert [line.partition(" at ")[0] for line in gpu.waits] == [
            "_local_scalar_dense", "a copy to cpu"
        ]  # fmt: skip
    assert (torch.Tensor.to, torch.Generator, torch.tensor, torch.cuda.is_available()) == before
    assert x.device.type == "cpu"


def test_a_device_for_all_tensors_works_afterwards() -> None:
    """Torch keeps a table of what makes tensors; in a process that first asks here, too."""
    code = """
import torch
from tests.devices.fake_cuda import FakeCuda
with FakeCuda(), torch.device("meta"):
    torch.zeros(2)
with torch.device("meta"):
    print(torch.empty(2).device, torch.tensor(2).device)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == ["meta", "meta"]

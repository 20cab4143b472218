"""A CUDA device that is not there: numbers are computed on the CPU and said to be on "cuda:0".

    with FakeCuda() as gpu:
        ...  # code that takes torch.device("cuda")
    assert gpu.mixed == []

Every operation is seen below autograd, so backward passes count too, and since the numbers are real
code may branch on them. A storage has the mark of its device, so that views and results in place
have it. Seen are operations on tensors of two devices, generators of another device than what they
draw, ``.numpy()`` of a tensor on a GPU, memory that cannot be page-locked, and sparse matrices that
cuSPARSE refuses; ``waits`` are where a GPU would have to be waited for, ``copied`` the bytes that
came from it, and ``drawn`` where the CPU draws random numbers.

There is one device, and streams are all the same. Threads of executors are followed, others are
not. autocast has the CPU's list of operations.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Self
from unittest import mock

import torch
import torch._dynamo  # reads tables of torch's functions, which are replaced below
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn.utils import clip_grad
from torch.utils._device import _device_constructors
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from tests.devices.fake_driver import driver
from tests.devices.fake_generator import CPU, FakeGenerator, TorchGenerator, place_of
from tests.devices.sparse import on_the_cpu, refused_by_cusparse
from tests.devices.waiting import INDEXED, copy_between, wait_in

_device_constructors()  # kept by torch: made later, ``torch.device("meta")`` would not know `empty`
GPU = torch.device("cuda", 0)
ACROSS = {"copy_", "_copy_from", "_to_copy", "set_"}  # take tensors of two devices
INNER = ("/_compile.py", "/eval_frame.py", "/fake_cuda.py")  # between an operation and its caller

_to, _numpy, _tolist = torch.Tensor.to, torch.Tensor.numpy, torch.Tensor.tolist
_device, _tensor, _autocast = torch.Tensor.device, torch.tensor, torch.autocast.__init__
_submit, _empty = ThreadPoolExecutor.submit, torch.empty
_grouped = clip_grad._group_tensors_by_device_and_dtype
_enabled, _dtype = torch.is_autocast_enabled, torch.get_autocast_dtype


class FakeCuda(TorchDispatchMode):
    """See the module; a context manager."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []  # what would fail on a GPU, and where, each once
        self.waits: list[str] = []
        self.copied = 0
        self.drawn: list[str] = []
        self._marks: dict[int, StorageWeakRef] = {}
        self._patches = ExitStack()

    def has(self, tensor: torch.Tensor) -> bool:
        """Whether it is on the GPU."""
        with _disable_current_modes():
            storage = _storage(tensor)
        mark = self._marks.get(storage._cdata)
        return mark is not None and not mark.expired()  # an address may be given out again

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options, name = dict(kwargs or {}), func._schema.name.partition("::")[2]
        wanted = options.get("device")
        if wanted is not None and wanted.type == "cuda":
            options["device"] = CPU
        options.pop("pin_memory", None)
        leaves = _tensors((args, options))
        there = [self.has(t) for t in leaves]
        self._check(name, args, leaves, there)
        if any(there) and (refused := refused_by_cusparse(name, args)):
            self._note(refused)
        gpu = self._goes_to_gpu(name, wanted, leaves, any(there))
        self._check_generators(name, (*args, *options.values()), gpu)
        if torch.Tag.nondeterministic_seeded in func.tags and not gpu:
            self.drawn.append(f"{name} at {_where()}")
        self._wait(wait_in(name, args, options, self.has) if any(there) else "", leaves)
        result = on_the_cpu(func, name, args, options)
        for made in _tensors(result):
            if not any(made is leaf for leaf in leaves):
                self._mark(made, gpu)
        return result

    def _goes_to_gpu(
        self, name: str, wanted: torch.device | None, leaves: list[torch.Tensor], there: bool
    ) -> bool:
        """Where a result is: by the device that is named, else with what it is made from.

        Inside torch, and in its backward passes, an operation names the real device of a tensor.
        """
        if wanted is not None and wanted.type == "cuda":
            return True
        if name == "_to_copy":
            return there and (wanted is None or _is_of_autograd())
        return there or (not leaves and _is_of_autograd())

    def _check(
        self, name: str, args: tuple[Any, ...], leaves: list[torch.Tensor], there: list[bool]
    ) -> None:
        """Note tensors of two devices; a single number of the CPU goes with any, as with torch."""
        if name in ACROSS or not any(there):
            return
        strangers = [t for t, gpu in zip(leaves, there, strict=True) if not gpu and t.dim()]
        if name in INDEXED and self.has(args[0]):  # a GPU is indexed by numbers from anywhere
            strangers = [t for t in _tensors(args[2:]) if t.dim() and not self.has(t)]
        if strangers:
            pairs = zip(leaves, there, strict=True)
            kinds = [f"{'cuda' if gpu else 'cpu'}{list(t.shape)}" for t, gpu in pairs]
            self._note(f"{name} of {', '.join(kinds)}")

    def _check_generators(self, name: str, values: tuple[Any, ...], gpu: bool) -> None:
        for value in values:
            if isinstance(value, TorchGenerator):
                place = place_of(value)
                if place != ("cuda" if gpu else "cpu"):
                    self._note(f"{name} draws elsewhere than its generator of {place}")

    def _wait(self, what: str, tensors: list[torch.Tensor]) -> None:
        if what:
            self.waits.append(f"{what} at {_where()}")
        if what.endswith("to cpu"):
            self.copied += tensors[-1].nbytes

    def _note(self, what: str) -> None:
        line = f"{what} at {_where()}"
        if line not in self.mixed:
            self.mixed.append(line)

    def _mark(self, tensor: torch.Tensor, gpu: bool) -> None:
        storage = _storage(tensor)
        self._marks.pop(storage._cdata, None)
        if gpu:
            self._marks[storage._cdata] = StorageWeakRef(storage)

    def __enter__(self) -> Self:
        for patch in self._replacements():
            self._patches.enter_context(patch)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._patches.close()

    def _replacements(self) -> Iterator[Any]:
        """Of what Python code asks torch, and of what asks the driver."""

        def patch(owner: Any, **values: Any) -> Iterator[Any]:
            yield from (mock.patch.object(owner, name, value) for name, value in values.items())

        def nothing(*args: Any, **options: Any) -> None:
            return None

        # torch compares with the real device, so these would find nothing to do
        yield from patch(torch.Tensor, to=self._moved(), numpy=self._as_numpy())
        yield from patch(torch.Tensor, tolist=lambda t: _tolist(t.to(CPU)))
        yield from patch(torch.Tensor, cpu=lambda t, **k: t.to(CPU), cuda=lambda t, *a: t.to(GPU))
        yield from patch(
            torch.Tensor, device=property(lambda t: GPU if self.has(t) else _device.__get__(t)),
            is_cuda=property(self.has), is_cpu=property(lambda t: not self.has(t)),
            get_device=lambda t: 0 if self.has(t) else -1,
        )  # fmt: skip
        # its C++ code copies to the device where no mode sees it
        yield from patch(torch, tensor=_made_where_wanted, Generator=FakeGenerator)
        yield from patch(clip_grad, _group_tensors_by_device_and_dtype=self._grouped)
        # autocast looks for a real GPU, and the CPU's operations ask for the CPU's
        yield from patch(
            torch.autocast, __init__=lambda s, device_type, *a, **k: _autocast(s, "cpu", *a, **k)
        )
        yield from patch(
            torch, is_autocast_enabled=lambda *a: _enabled("cpu"),
            get_autocast_dtype=lambda *a: _dtype("cpu"),
        )  # fmt: skip
        # the driver
        yield from patch(torch.cuda, **driver(lambda what: self._wait(what, [])))
        yield from patch(ThreadPoolExecutor, submit=self._followed())
        yield from patch(torch, empty=_not_page_locked)
        yield from patch(torch.Tensor, pin_memory=self._page_locked())
        yield from patch(torch.optim.Optimizer, _accelerator_graph_capture_health_check=nothing)

    def _followed(self) -> Callable[..., Future[Any]]:
        """``submit`` of a pool, with the same device in its thread."""

        def submit(
            pool: Any, run: Callable[..., Any], /, *args: Any, **options: Any
        ) -> Future[Any]:
            def inner() -> Any:
                with _Elsewhere(self):
                    return run(*args, **options)

            return _submit(pool, inner)

        return submit

    def _moved(self) -> Callable[..., torch.Tensor]:
        def to(tensor: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            if args and isinstance(args[0], torch.Tensor):
                args = (args[0].device, args[0].dtype, *args[1:])
            named = {name: value for name, value in options.items() if name != "copy"}
            device, dtype, free, layout = torch._C._nn._parse_to(*args, **named)
            memory = {} if layout is None else {"memory_format": layout}
            if device is None or device.type == tensor.device.type:
                copy = {"copy": True} if options.get("copy") else {}
                return _to(tensor, dtype or tensor.dtype, **copy, **memory)
            self._wait(copy_between(self.has(tensor), not self.has(tensor), free), [tensor])
            return torch.ops.aten._to_copy(tensor, dtype=dtype, device=device, **memory)

        return to

    def _grouped(self, lists: Any) -> dict[Any, Any]:
        """By the device that the tensors say they are on."""
        found = _grouped(lists).items()
        return {(GPU if self.has(x[0][0][0]) else CPU, dtype): x for (_, dtype), x in found}

    def _as_numpy(self) -> Callable[..., Any]:
        def numpy(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            if self.has(tensor):
                self._note(".numpy() of a tensor on cuda")
            return _numpy(tensor, *args, **options)

        return numpy

    def _page_locked(self) -> Callable[[torch.Tensor], torch.Tensor]:
        def pin_memory(tensor: torch.Tensor) -> torch.Tensor:
            if self.has(tensor):
                self._note("pin_memory of a tensor on cuda")
            if torch._debug_has_internal_overlap(tensor) == 1:
                self._note("pin_memory of a tensor that has a number in several places")
            return tensor

        return pin_memory


class _Elsewhere(TorchDispatchMode):
    """The same device in another thread: modes are of a thread."""

    def __init__(self, gpu: FakeCuda) -> None:
        super().__init__()
        self.gpu = gpu

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.gpu.__torch_dispatch__(func, types, args, kwargs)


def _not_page_locked(*args: Any, pin_memory: bool = False, **options: Any) -> torch.Tensor:
    return _empty(*args, **options)


def _made_where_wanted(data: Any, *, device: Any = None, **options: Any) -> torch.Tensor:
    made = _tensor(data, **options)
    return made if device is None else made.to(torch.device(device))


def _tensors(values: Any) -> list[torch.Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, torch.Tensor)]


def _storage(tensor: torch.Tensor) -> torch.UntypedStorage:
    while tensor.layout != torch.strided:
        tensor = tensor._values() if tensor.layout == torch.sparse_coo else tensor.values()
    return tensor.untyped_storage()


def _is_of_autograd() -> bool:
    """Whether torch's own code of a backward pass asks, not Python code that runs within it."""
    if torch._C._current_graph_task_id() == -1:
        return False
    frame: Any = sys._getframe(2)
    while frame.f_code.co_filename.endswith(INNER):
        frame = frame.f_back
    return bool(frame.f_code.co_name == "_engine_run_backward")


def _where() -> str:
    """The innermost lines of mmx that were running."""
    lines: list[str] = []
    frame: Any = sys._getframe(1)
    while frame and len(lines) < 3:
        room, ours, name = frame.f_code.co_filename.rpartition("/mmx/")
        if ours and not any(f"/{other}/" in f"{room}/" for other in ("site-packages", "tests")):
            lines.append(f"{name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(lines) or "(backward)"

"""The state of PyTorch's objects: bits, names and ties are kept, and what would be lost is refused with its path."""

import copy
import dataclasses
import threading
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import ml_dtypes
import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn, optim
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

import statetree
from statetree import Record, WriteError, difference, rng_state, state
from statetree.state import generators

GATHER = (
    "gather it first: torch.distributed.checkpoint.state_dict.get_model_state_dict(model, "
    "options=StateDictOptions(full_state_dict=True, cpu_offload=True)) gives whole tensors on rank 0, "
    "get_optimizer_state_dict those of an optimiser"
)


def refusal(value: Any) -> str:
    with pytest.raises(WriteError) as caught:
        state(value)
    return str(caught.value)


def numbers(*shape: int) -> torch.Tensor:
    return torch.arange(1, 1 + torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)


# Tensors

RAW = torch.arange(7, 7 + 96, dtype=torch.uint8) * 37
SAME = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"]
WIDE = ["complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"]


@pytest.mark.parametrize("name", [*SAME, *WIDE, "float8_e8m0fnu"])
def test_a_tensor_keeps_its_dtype_and_every_bit(name: str) -> None:
    dtype = np.dtype(getattr(ml_dtypes, name, None) or getattr(np, name))
    tensor = RAW.view(getattr(torch, name)).reshape(2, -1)

    assert difference(state(tensor), np.array(RAW.numpy()).view(dtype).reshape(2, -1)) is None


def test_bools_are_kept() -> None:
    assert difference(state(torch.tensor([True, False])), np.array([True, False])) is None


def test_packed_float4_is_unpacked_to_one_element_a_byte() -> None:
    packed = torch.tensor([[0x21, 0x43], [0xF5, 0x0E]], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)

    tree = state({"a": packed, "t": packed.t(), "scalar": packed[0, 0], "empty": packed[:0]})

    nibbles = [[1, 2, 3, 4], [5, 15, 14, 0]], [[1, 2, 5, 15], [3, 4, 14, 0]], [1, 2], np.zeros((0, 4))
    expected = [np.array(part, np.uint8).view(ml_dtypes.float4_e2m1fn) for part in nibbles]
    assert difference(tree, dict(zip(tree, expected, strict=True))) is None


REFUSED_DTYPES = [
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)),
    *("bits8", "bits16", "bits1x8", "bits2x4", "bits4x2"),
]


@pytest.mark.parametrize("name", REFUSED_DTYPES)
def test_a_dtype_that_the_format_has_not_is_refused(name: str) -> None:
    tensor = RAW.view(getattr(torch, name))

    text = f"expected a dtype of the format, got a tensor of torch.{name} (at /a): keep t.view(torch.uint8)"
    assert refusal({"a": tensor}) == text
    assert state(tensor.view(torch.uint8)).tobytes() == RAW.numpy().tobytes()


def test_half_precision_complex_numbers_are_refused() -> None:
    text = "expected a dtype of the format, got a tensor of torch.complex32 (at /a): keep t.to(torch.complex64)"
    with warnings.catch_warnings(action="ignore"):
        assert refusal({"a": torch.zeros(3, dtype=torch.complex32)}) == text


COMPLEX = torch.complex(numbers(2, 3), -numbers(2, 3))
VIEWS: dict[str, Callable[[], torch.Tensor]] = {
    "transposed": lambda: numbers(3, 4).t(),
    "strided": lambda: numbers(6, 8)[::2, 1::3],
    "strided bfloat16": lambda: numbers(6, 8).bfloat16()[::2, 1::3],
    "strided float8": lambda: numbers(6, 8).to(torch.float8_e4m3fn)[::2, 1::3],
    "strided uint16": lambda: numbers(6, 8).to(torch.uint16)[::2, 1::3],
    "channels last": lambda: numbers(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "expanded": lambda: numbers(3, 1).expand(3, 4),
    "windows": lambda: numbers(6).unfold(0, 3, 1),
    "offset": lambda: numbers(6)[4:],
    "no dimension": lambda: torch.tensor(-0.0),
    "no dimension, bfloat16": lambda: torch.tensor(3.5).bfloat16(),
    "empty": lambda: torch.zeros(0, 3),
    "empty bfloat16": lambda: torch.zeros(3, 0).bfloat16(),
    "conjugate": COMPLEX.conj,
    "conjugate transposed": lambda: COMPLEX.conj().t(),
    "negative": lambda: COMPLEX.conj().imag,
    "with gradient": lambda: numbers(3).requires_grad_(),
    "of a graph": lambda: numbers(3).requires_grad_() * 2,
    "parameter": lambda: nn.Parameter(numbers(3)),
    "buffer": lambda: nn.Buffer(numbers(3)),
    "made in inference mode": lambda: torch.inference_mode()(numbers)(3),
    "shared memory": lambda: numbers(3).share_memory_(),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_tensor_of_any_layout_is_the_array_of_its_elements(name: str) -> None:
    tensor = VIEWS[name]()

    tree = state(tensor)

    through = tensor.detach().double() if tensor.dtype.itemsize < 4 else tensor.detach()
    assert difference(tree, np.array(through.tolist()).reshape(tensor.shape).astype(tree.dtype)) is None


def test_payloads_of_nans_are_kept() -> None:
    bits = torch.tensor([0x7F800001, 0x7FC12345, -0x80000000], dtype=torch.int32)

    assert state(bits.view(torch.float32)).tobytes() == bits.numpy().tobytes()


def test_later_steps_do_not_reach_a_state() -> None:
    tensors = [numbers(3), numbers(4, 3).t(), COMPLEX.conj().clone(), numbers(2).bfloat16()]
    tree = state(tensors)
    before = copy.deepcopy(tree)

    for tensor in tensors:
        tensor.mul_(2)

    assert difference(tree, before) is None


SPARSE = numbers(4, 4)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "coo": (
        SPARSE.to_sparse,
        "expected a dense tensor, got a sparse_coo tensor (at /a): keep t.to_dense(), or t.coalesce().indices(), "
        ".values() and the shape",
    ),
    "csr": (
        SPARSE.to_sparse_csr,
        "expected a dense tensor, got a sparse_csr tensor (at /a): keep t.to_dense(), or t.crow_indices(), "
        "t.col_indices(), t.values() and the shape",
    ),
    "csc": (
        SPARSE.to_sparse_csc,
        "expected a dense tensor, got a sparse_csc tensor (at /a): keep t.to_dense(), or t.ccol_indices(), "
        "t.row_indices(), t.values() and the shape",
    ),
    "bsr": (
        lambda: SPARSE.to_sparse_bsr((2, 2)),
        "expected a dense tensor, got a sparse_bsr tensor (at /a): keep t.to_dense(), or t.crow_indices(), "
        "t.col_indices(), t.values() and the shape",
    ),
    "bsc": (
        lambda: SPARSE.to_sparse_bsc((2, 2)),
        "expected a dense tensor, got a sparse_bsc tensor (at /a): keep t.to_dense(), or t.ccol_indices(), "
        "t.row_indices(), t.values() and the shape",
    ),
    "mkldnn": (SPARSE.to_mkldnn, "expected a dense tensor, got a mkldnn tensor (at /a): keep t.to_dense()"),
    "nested": (
        lambda: torch.nested.nested_tensor([numbers(2), numbers(3)]),
        "expected a dense tensor, got a nested tensor (at /a): keep t.unbind(), a tuple of tensors",
    ),
    "nested jagged": (
        lambda: torch.nested.nested_tensor([numbers(2), numbers(3)], layout=torch.jagged),
        "expected a dense tensor, got a nested tensor (at /a): keep t.unbind(), a tuple of tensors",
    ),
    "quantised": (
        lambda: torch.quantize_per_tensor(numbers(3), 0.1, 0, torch.qint8),
        "expected a dense tensor, got a quantised tensor (at /a): keep t.int_repr() with its scale and zero point, or "
        "t.dequantize()",
    ),
    "meta": (
        lambda: torch.empty(3, device="meta"),
        "expected a tensor with values, got a tensor on the meta device (at /a): give the model memory with "
        "model.to_empty(device='cpu'), and its weights",
    ),
    "fake": (
        lambda: fake(lambda: numbers(3)),
        "expected a tensor with values, got a FakeTensor (at /a): give the model memory with "
        "model.to_empty(device='cpu'), and its weights",
    ),
    "zero": (
        lambda: torch._efficientzerotensor(3),
        "expected a tensor with memory, got a ZeroTensor of automatic differentiation (at /a): keep t.clone()",
    ),
    "masked": (
        lambda: torch.masked.masked_tensor(numbers(2), torch.tensor([True, False])),
        "expected a plain torch.Tensor, got a torch.masked.maskedtensor.core.MaskedTensor (at /a): keep the plain "
        "tensors that it is made of",
    ),
    "uninitialised": (
        nn.parameter.UninitializedParameter,
        "expected a tensor with values, got an UninitializedParameter (at /a): run the model once on an example, so "
        "that its lazy layers get their shapes",
    ),
}


def fake(make: Callable[[], Any]) -> Any:
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode():
        return make()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_whose_state_is_more_or_less_than_its_elements_is_refused(name: str) -> None:
    make, text = REFUSED[name]

    assert refusal({"a": make()}) == text


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad, torch.func.functionalize])
def test_tensors_inside_of_a_transform_are_refused(transform: Any) -> None:
    texts = []

    def seen(x: torch.Tensor) -> torch.Tensor:
        texts.append(refusal({"a": x}))
        return x.sum()

    transform(seen)(numbers(3))

    assert texts == [
        "expected a tensor, got a tensor inside of a transform of torch.func (at /a): call state() outside of it"
    ]


def test_under_fake_tensor_mode_state_is_refused() -> None:
    from torch._subclasses import FakeTensorMode

    text = "expected a tensor with values, got a tensor under FakeTensorMode (at /a): call state() outside of it"
    tensor = numbers(3)
    with FakeTensorMode():
        assert refusal({"a": tensor}) == text


def test_settings_of_the_process_do_not_count() -> None:
    model = {"linear": nn.Linear(3, 2), "half": numbers(3).bfloat16(), "scale": torch.tensor(2.0)}
    before = state(model)

    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(mode=True)
    try:
        with torch.inference_mode():
            assert difference(state(model), before) is None
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
        torch.use_deterministic_algorithms(mode=False)


def test_sizes_are_tuples_and_settings_are_left_out() -> None:
    left_out: list[Any] = []

    tree = state({"size": torch.Size((2, 3)), "dtype": torch.float32, "device": torch.device("cpu")}, report=left_out)

    assert difference(tree, {"size": (2, 3), "dtype": (), "device": ()}) is None
    assert left_out == [("dtype",), ("device",)]


# Modules


class Parts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.head
        self.norm = nn.BatchNorm1d(4)
        self.register_buffer("kept", numbers(2))
        self.register_buffer("not_kept", numbers(2), persistent=False)
        self.register_buffer("none", None)
        self.register_parameter("no_parameter", None)
        self.dict = nn.ModuleDict({"a-b": nn.Linear(1, 1), "c d": nn.Linear(1, 1), "é/x": nn.Linear(1, 1)})
        self.list = nn.ParameterList([numbers(1), numbers(2)])
        self.parameters_ = nn.ParameterDict({"a-b": numbers(1), "#0": numbers(2)})


def test_a_module_is_dicts_in_dicts_by_the_names_of_its_modules() -> None:
    model = Parts()

    tree = state(model)

    assert list(tree) == ["kept", "embed", "head", "again", "norm", "dict", "list", "parameters_"]
    assert list(tree["norm"]) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert list(tree["dict"]) == ["a-b", "c d", "é/x"]
    assert (list(tree["list"]), list(tree["parameters_"])) == (["0", "1"], ["#0", "a-b"])
    assert difference(tree["norm"]["num_batches_tracked"], np.array(0)) is None
    assert difference(tree["head"], {"weight": model.embed.weight.detach().numpy()}) is None


def test_tied_parameters_are_one_array_and_copies_are_two() -> None:
    model = Parts()

    tree = state({"model": model, "copy": copy.deepcopy(model), "view": model.embed.weight.view(5, 4)})

    weight = tree["model"]["embed"]["weight"]
    assert weight is tree["model"]["head"]["weight"] is tree["model"]["again"]["weight"] is tree["view"]
    assert weight is not tree["copy"]["embed"]["weight"]
    assert difference(tree["copy"], tree["model"]) is None


def test_views_of_another_shape_are_arrays_of_their_own() -> None:
    weight = numbers(4, 3)

    tree = state([weight, weight.t(), weight[:2]])

    assert difference(tree, [a.copy() for a in (weight.numpy(), weight.numpy().T, weight.numpy()[:2])]) is None


class Subclass(nn.DataParallel[nn.Module]):
    pass


WRAPPED: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compile": torch.compile,
    "DataParallel": nn.DataParallel,
    "compile of DataParallel": lambda model: torch.compile(nn.DataParallel(model)),
    "subclass of DataParallel": Subclass,
}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrappers_are_looked_through_wherever_they_are(name: str) -> None:
    inner = nn.Linear(3, 2)
    model = nn.Sequential(WRAPPED[name](inner), nn.Linear(2, 2))
    optimizer = optim.SGD(model.parameters())

    tree = state({"model": model, "wrapped": WRAPPED[name](model), "optimizer": optimizer})

    assert difference(tree["model"]["0"], state(inner)) is None
    assert difference(tree["model"], tree["wrapped"]) is None
    assert tree["optimizer"]["groups"][0]["params"] == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_an_averaged_model_is_a_model_of_its_own() -> None:
    model = nn.Linear(2, 2)
    average = AveragedModel(model)
    average.update_parameters(model)

    tree = state({"model": model, "average": average})

    assert difference(tree["average"], {"n_averaged": np.array(1), "module": state(model)}) is None


class Extra(nn.Module):
    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.value = value
        self.weight = nn.Parameter(numbers(2))

    def get_extra_state(self) -> Any:
        return self.value

    def set_extra_state(self, state: Any) -> None:
        self.value = state


@pytest.mark.parametrize(
    ("value", "tree"),
    [
        ((1, "a", [2.5, None]), (1, "a", [2.5, None])),
        ({"a": torch.ones(2), 3: (torch.zeros(1).bfloat16(),)}, {"a": np.ones(2, "f4"), 3: (np.zeros(1, "bfloat16"),)}),
        (torch.tensor(5), np.array(5)),
        (b"bytes", b"bytes"),
        (None, None),
    ],
)
def test_extra_state_is_taken_whatever_it_is(value: Any, tree: Any) -> None:
    model = nn.Sequential(nn.Identity(), Extra(value))

    assert difference(state(model), {"1": {"weight": np.array([1, 2], "f4"), "_extra_state": tree}}) is None


class Own(nn.Module):
    """Writes and reads its state by itself, and neither as torch does."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(numbers(2))

    def state_dict(self) -> Any:
        return {"halved": self.weight.detach() / 2, "settings": {"scale": 2.0}}

    def load_state_dict(self, state: Any) -> None:
        self.weight.data = state["halved"] * state["settings"]["scale"]


def test_a_module_that_writes_its_own_state_is_believed() -> None:
    tree = state({"own": Own()})

    assert difference(tree, {"own": {"halved": np.array([0.5, 1], "f4"), "settings": {"scale": 2.0}}}) is None


class Clash(nn.Module):
    def state_dict(self, **_: Any) -> Any:
        return {"a": torch.ones(1), "a.b": torch.ones(1)}


class Protocol(nn.Linear):
    def __statetree__(self) -> Any:
        return {}


class Lazy(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.LazyLinear(2))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), dtype=torch.qint8)


REFUSED_MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "names that continue another": (
        Clash,
        "expected names of which none continues another, got 'a' (at /m): rename it, or keep the flat dict, "
        "state(module.state_dict())",
    ),
    "another protocol inside": (
        lambda: nn.Sequential(Protocol(1, 1)),
        "expected a module whose modules keep to state_dict, got Protocol inside of it, which has __statetree__ "
        "(at /m): give that get_extra_state, or this __statetree__ too",
    ),
    "lazy": (
        Lazy,
        "expected a tensor with values, got an UninitializedParameter (at /m/0/weight): run the model once on an "
        "example, so that its lazy layers get their shapes",
    ),
    "quantised": (
        quantised,
        "expected a dense tensor, got a quantised tensor (at /m/0/_packed_params/_packed_params/#0): keep "
        "t.int_repr() with its scale and zero point, or t.dequantize()",
    ),
    "on the meta device": (
        lambda: nn.Linear(2, 2, device="meta"),
        "expected a tensor with values, got a tensor on the meta device (at /m/weight): give the model memory with "
        "model.to_empty(device='cpu'), and its weights",
    ),
    "fake": (
        lambda: fake(lambda: nn.Linear(2, 2)),
        "expected a tensor with values, got a FakeTensor (at /m/weight): give the model memory with "
        "model.to_empty(device='cpu'), and its weights",
    ),
}


@pytest.mark.parametrize("name", REFUSED_MODULES)
@pytest.mark.filterwarnings("ignore")
def test_a_module_whose_state_would_be_lost_is_refused(name: str) -> None:
    make, text = REFUSED_MODULES[name]

    assert refusal({"m": make()}) == text


def test_a_lazy_module_that_has_run_is_a_module() -> None:
    model = Lazy()
    model(numbers(1, 3))

    assert state(model)["0"]["weight"].shape == (2, 3)


# Many processes


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One process that is a group of its own."""
    from torch.distributed.device_mesh import init_device_mesh

    rendezvous = tmp_path_factory.mktemp("gloo") / "rendezvous"
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def sharded(mesh: Any) -> nn.Module:
    from torch.distributed.fsdp import fully_shard

    model = nn.Sequential(nn.Linear(2, 2))
    fully_shard(model, mesh=mesh)
    return model


def flattened(*, use_orig_params: bool) -> nn.Module:
    from torch.distributed.fsdp import FullyShardedDataParallel

    return FullyShardedDataParallel(nn.Linear(2, 2), device_id=torch.device("cpu"), use_orig_params=use_orig_params)


def distributed(mesh: Any) -> Any:
    from torch.distributed.tensor import Shard, distribute_tensor

    return distribute_tensor(numbers(4), mesh, [Shard(0)])


DTENSOR = "expected a whole tensor, got a DTensor, which is sharded over devices"
FSDP = "expected a module with whole tensors, got a module that is sharded by FSDP"
FLAT = "expected a whole tensor, got a parameter that FSDP has flattened and sharded"
SHARDED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "DTensor": (distributed, f"{DTENSOR} (at /x): {GATHER}"),
    "fully_shard": (sharded, f"{DTENSOR} (at /x/0/weight): {GATHER}"),
    "optimiser of fully_shard": (lambda mesh: optim.SGD(sharded(mesh).parameters()), f"{DTENSOR} (at /x): {GATHER}"),
    "FSDP": (lambda mesh: flattened(use_orig_params=True), f"{FSDP} (at /x): {GATHER}"),
    "FSDP inside": (lambda mesh: nn.Sequential(flattened(use_orig_params=False)), f"{FSDP} (at /x): {GATHER}"),
    "optimiser of FSDP": (
        lambda mesh: optim.SGD(flattened(use_orig_params=True).parameters()),
        f"{FLAT} (at /x): {GATHER}",
    ),
    "optimiser of flat FSDP": (
        lambda mesh: optim.SGD(flattened(use_orig_params=False).parameters()),
        f"{FLAT} (at /x): {GATHER}",
    ),
}


@pytest.mark.parametrize("name", SHARDED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_sharded_is_refused_with_how_to_gather_it(name: str, group: Any) -> None:
    make, text = SHARDED[name]

    assert refusal({"x": make(group)}) == text


@pytest.mark.filterwarnings("ignore")
def test_what_the_remedy_for_sharded_models_gives_is_a_state(group: Any) -> None:
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

    model = sharded(group)
    gathered = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))

    assert {name: array.shape for name, array in state(gathered).items()} == {"0.weight": (2, 2), "0.bias": (2,)}


@pytest.mark.filterwarnings("ignore")
def test_distributed_data_parallel_is_looked_through(group: Any) -> None:
    model = nn.Linear(2, 2)
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = optim.Adam(parallel.parameters())

    tree = state({"model": parallel, "inside": nn.Sequential(parallel), "optimizer": optimizer})

    assert difference(tree["model"], state(model)) is None
    assert difference(tree["inside"], {"0": state(model)}) is None
    assert tree["optimizer"]["groups"][0]["params"] == ["weight", "bias"]


@pytest.mark.filterwarnings("ignore")
def test_an_optimiser_with_a_state_dict_of_its_own_is_refused(group: Any) -> None:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    model = nn.Linear(2, 2)
    hooked = optim.SGD(model.parameters())
    hooked.register_state_dict_post_hook(lambda optimizer, state: {**state, "more": 1})
    text = (
        "expected an optimiser whose state is what torch makes of it, got {} with a state_dict or hooks of its own "
        "(at /o): keep what its state_dict() returns, or give its class __statetree__ and __load_statetree__"
    )

    zero = ZeroRedundancyOptimizer(model.parameters(), optim.SGD, lr=0.1)
    assert refusal({"m": model, "o": zero}) == text.format("ZeroRedundancyOptimizer")
    assert refusal({"m": model, "o": hooked}) == text.format("SGD")


# Optimisers


def step(optimizer: optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.full_like(parameter, 0.5) if parameter.requires_grad else None
    optimizer.step()


def test_an_optimiser_is_a_record_of_its_class_its_state_by_name_and_its_groups() -> None:
    model = nn.Linear(2, 1)
    optimizer = optim.SGD([{"params": [model.weight]}, {"params": [model.bias], "lr": 0.2}], lr=0.1, momentum=0.9)
    step(optimizer)

    tree = state({"model": model, "optimizer": optimizer})["optimizer"]

    settings = {"momentum": 0.9, "dampening": 0, "weight_decay": 0, "nesterov": False, "maximize": False}
    machine = {"foreach": None, "differentiable": False, "fused": None}
    weight = {"lr": 0.1, **settings, **machine, "params": ["weight"]}
    bias = {"lr": 0.2, **settings, **machine, "params": ["bias"]}
    moments = {
        "weight": {"momentum_buffer": np.full((1, 2), 0.5, "f4")},
        "bias": {"momentum_buffer": np.array([0.5], "f4")},
    }
    fields = {"algorithm": "SGD", "state": moments, "groups": [weight, bias]}
    assert difference(tree, Record(fields, label="torch.Optimizer")) is None


@dataclasses.dataclass(slots=True)
class Slots:
    model: Any
    optimizer: Any


@attrs.define
class Attrs:
    model: Any
    optimizer: Any


class Trainer:
    def __init__(self, model: Any, optimizer: Any) -> None:
        self.model, self.optimizer = model, optimizer

    def __statetree__(self) -> Any:
        return {"model": self.model, "optimizer": self.optimizer}


Pair = namedtuple("Pair", ["model", "optimizer"])
HOLDERS: dict[str, Callable[[Any, Any], Any]] = {
    "dict": lambda model, optimizer: {"optimizer": optimizer, "model": model},
    "list": lambda model, optimizer: [{"deep": (model,)}, {"optimizer": optimizer}],
    "namedtuple": Pair,
    "dataclass with slots": Slots,
    "attrs": Attrs,
    "object with __statetree__": Trainer,
}


@pytest.mark.parametrize("name", HOLDERS)
def test_names_come_from_the_module_beside_the_optimiser(name: str) -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    optimizer = optim.SGD(reversed(list(model.parameters())))

    tree = state(HOLDERS[name](model, optimizer))

    found = tree[1]["optimizer"] if name == "list" else tree["optimizer"]
    assert found["groups"][0]["params"] == ["1.bias", "1.weight", "0.bias", "0.weight"]


def test_with_several_models_names_are_paths_in_the_tree() -> None:
    gan = {"a/b": nn.Linear(1, 1, bias=False), "nets": [nn.Sequential(nn.Linear(1, 1))]}
    both = optim.SGD([*gan["a/b"].parameters(), *gan["nets"][0].parameters()])
    one = optim.SGD(gan["nets"][0].parameters())

    tree = state({**gan, "both": both, "one": one})

    assert tree["both"]["groups"][0]["params"] == ["/a~1b/weight", "/nets/#0/0/weight", "/nets/#0/0/bias"]
    assert tree["one"]["groups"][0]["params"] == ["0.weight", "0.bias"]


def test_names_that_the_optimiser_knows_serve_without_a_model() -> None:
    model = nn.Linear(1, 1)

    named = state(optim.SGD(model.named_parameters()))
    positions = state(optim.SGD(model.parameters()))

    assert (named["groups"][0]["params"], positions["groups"][0]["params"]) == (["weight", "bias"], [0, 1])
    assert "param_names" not in named["groups"][0]


def test_names_of_two_models_that_collide_are_no_names() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer = optim.Adam([{"params": first.named_parameters()}, {"params": second.named_parameters()}])
    step(optimizer)

    tree = state(optimizer)

    assert [group["params"] for group in tree["groups"]] == [[0, 1], [2, 3]]
    assert list(tree["state"]) == [0, 1, 2, 3]


def test_a_tied_parameter_has_its_first_name_and_a_frozen_one_no_state() -> None:
    model = Parts()
    model.norm.requires_grad_(requires_grad=False)
    optimizer = optim.Adam(model.parameters())
    step(optimizer)

    tree = state({"model": model, "optimizer": optimizer})["optimizer"]

    names = tree["groups"][0]["params"]
    assert [name for name in names if name not in tree["state"]] == ["norm.weight", "norm.bias"]
    assert "embed.weight" in names
    assert "head.weight" not in names


def test_parameters_of_a_model_elsewhere_are_refused() -> None:
    model, elsewhere = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer = optim.SGD([*model.parameters(), *elsewhere.parameters()])

    text = (
        "expected an optimiser of parameters of the modules beside it, got 2 of 4 parameters that are in none of them "
        "(at /optimizer): give state() all modules that the optimiser trains, {'model': model, 'optimizer': optimizer}"
    )
    assert refusal({"model": model, "optimizer": optimizer}) == text


def test_what_an_optimiser_keeps_for_itself_is_kept_apart_from_its_parameters() -> None:
    model = nn.Linear(1, 1, bias=False)
    optimizer = optim.SGD(model.parameters())
    optimizer.state["weight"] = {"rounds": 3, "average": torch.ones(2)}

    tree = state({"model": model, "optimizer": optimizer})["optimizer"]

    assert difference(tree["state"], {("weight",): {"rounds": 3, "average": np.ones(2, "f4")}}) is None


def test_state_of_a_tensor_that_is_in_no_group_is_refused() -> None:
    model = nn.Linear(1, 1)
    optimizer = optim.Adam(model.parameters())
    step(optimizer)
    optimizer.param_groups[0]["params"].pop()

    text = (
        "expected state of the optimiser's parameters, got state of a tensor that is in none of its groups (at /o): "
        "del optimizer.state[tensor], or give its parameter back to a group"
    )
    assert refusal({"m": model, "o": optimizer}) == text


# Schedulers, scalers, generators


def test_a_scheduler_is_what_its_state_dict_returns() -> None:
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    scheduler = lr_scheduler.MultiStepLR(optimizer, [2, 4, 4])

    tree = state(scheduler)

    assert difference(tree["milestones"], {2: 1, 4: 2}) is None
    assert tree.keys() == scheduler.state_dict().keys()


def test_functions_of_a_scheduler_are_left_to_the_code() -> None:
    class Decay:
        rate = 1.0

        def __init__(self) -> None:
            self.rate = 0.5

        def __call__(self, epoch: int) -> float:
            return self.rate**epoch

    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)

    tree = state([lr_scheduler.LambdaLR(optimizer, part) for part in (Decay(), lambda epoch: 0.5)])

    assert [part["lr_lambdas"] for part in tree] == [[{"rate": 0.5}], [None]]


def test_a_gradient_scaler_is_five_numbers_or_nothing() -> None:
    scalers = [torch.amp.GradScaler("cpu", init_scale=8.0), torch.amp.GradScaler("cpu", enabled=False)]

    five = {"scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2000, "_growth_tracker": 0}
    assert difference(state(scalers), [five, {}]) is None


def test_a_generator_is_a_record_of_its_device_and_state() -> None:
    generator = torch.Generator().manual_seed(3)

    fields = {"device": "cpu", "state": generator.get_state().numpy()}
    assert difference(state(generator), Record(fields, label="torch.Generator")) is None


def test_generators_of_devices_that_were_used_are_among_the_global_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", (device,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)

    assert generators()["torch"] == [torch.default_generator, device]
    assert len(rng_state()["torch"]) == 2


# Changes meanwhile

CHANGED = (
    "expected an object that rests while its state is taken, got one of which a part was changed: "
    "take it between two steps"
)


class Between(nn.Module):
    """Runs a function in the middle of its being asked for its state."""

    def __init__(self, do: Callable[[], Any]) -> None:
        super().__init__()
        self.do = do

    def get_extra_state(self) -> int:
        thread = threading.Thread(target=self.do)
        thread.start()
        thread.join()
        return 0

    def set_extra_state(self, state: Any) -> None: ...


def changed_in_place(model: nn.Linear, optimizer: optim.Optimizer) -> None:
    with torch.no_grad():
        model.weight.add_(1)


def stepped(model: nn.Linear, optimizer: optim.Optimizer) -> None:
    step(optimizer)


@pytest.mark.parametrize("change", [changed_in_place, stepped])
@pytest.mark.parametrize("last", [False, True])
def test_a_model_that_another_thread_changes_meanwhile_is_refused(change: Any, last: bool) -> None:
    model = nn.Linear(1, 1)
    optimizer = optim.Adam(model.parameters())
    between = Between(lambda: change(model, optimizer))

    whole = nn.Sequential(model, between) if last else nn.Sequential(between, model)

    assert refusal({"model": whole, "optimizer": optimizer}) == CHANGED


def test_a_model_of_which_another_thread_replaces_a_parameter_meanwhile_is_refused() -> None:
    model = nn.Linear(1, 1)
    between = Between(lambda: setattr(model, "weight", nn.Parameter(torch.ones(1, 1))))

    assert refusal(nn.Sequential(model, between)) == CHANGED


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip", ".bson"])
def test_the_state_of_a_whole_run_is_kept_by_every_container(suffix: str, tmp_path: Path) -> None:
    model = Parts()
    optimizer = optim.AdamW(model.parameters(), amsgrad=True)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    step(optimizer)
    scheduler.step()
    run = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "rng": generators(), "extra": Extra((1, 2))}
    tree = state(run)

    statetree.save(tmp_path / f"run{suffix}", tree, durable=False)

    assert difference(statetree.load(tmp_path / f"run{suffix}"), tree) is None

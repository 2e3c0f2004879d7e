"""Restoring into objects of PyTorch: the next steps are the same bits, or nothing changes all that differs is told."""

import copy
import dataclasses
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn, optim
from torch.nn.utils import parametrizations, prune
from torch.optim import lr_scheduler
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn
from torchdata import nodes
from torchdata.stateful_dataloader import StatefulDataLoader

import statetree
from statetree import Record, RestoreError, difference, restore, restore_rng, rng_state, state

HOW = "save statetree.state({'model': model, 'optimizer': optimizer}), and restore both together"
SAME = "build it from the same parameters in the same groups"
BUILD = "build the object as the saved one was, or adapt the state with rename= or migrate="
ADD = "add it with migrate=, or pass strict=False to keep yours"
LEAVE = "leave it out with migrate=, or pass strict=False to ignore it"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def refusal(dst: Any, tree: Any, **options: Any) -> str:
    """Return the text of a refusal; nothing of `dst` was changed."""
    before = state(dst)

    with pytest.raises(RestoreError) as caught:
        restore(dst, tree, **options)

    assert difference(state(dst), before) is None
    return str(caught.value)


def net(*, seed: int = 0, width: int = 4) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))


def step(model: nn.Module, optimizer: optim.Optimizer, number: int) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number)).to(next(model.parameters()).dtype)

    def closure() -> Any:
        optimizer.zero_grad()
        y = model(x)
        loss = y.square().mean() + y.sin().sum()
        loss.backward()
        return loss

    optimizer.step(closure)


# Optimisers

OPTIMIZERS: dict[str, Callable[[nn.Module], optim.Optimizer]] = {
    "Adadelta": lambda m: optim.Adadelta(m.parameters(), lr=0.1),
    "Adafactor": lambda m: optim.Adafactor(m.parameters()),
    "Adagrad": lambda m: optim.Adagrad(m.parameters(), lr=0.1, initial_accumulator_value=0.1),
    "Adagrad fused": lambda m: optim.Adagrad(m.parameters(), lr=0.1, fused=True),
    "Adam": lambda m: optim.Adam(m.parameters(), lr=0.1),
    "AdamW amsgrad": lambda m: optim.AdamW(m.parameters(), lr=0.1, amsgrad=True),
    "AdamW foreach": lambda m: optim.AdamW(m.parameters(), lr=0.1, foreach=True),
    "AdamW fused": lambda m: optim.AdamW(m.parameters(), lr=0.1, fused=True),
    "AdamW lr tensor": lambda m: optim.AdamW(m.parameters(), lr=torch.tensor(0.1)),
    "AdamW lr tensor fused": lambda m: optim.AdamW(m.parameters(), lr=torch.tensor(0.1), fused=True),
    "Adamax": lambda m: optim.Adamax(m.parameters(), lr=0.1),
    "ASGD": lambda m: optim.ASGD(m.parameters(), lr=0.1, t0=2),
    "LBFGS": lambda m: optim.LBFGS(m.parameters(), max_iter=3, history_size=4),
    "LBFGS with line search": lambda m: optim.LBFGS(m.parameters(), max_iter=3, line_search_fn="strong_wolfe"),
    "Muon": lambda m: optim.Muon([p for p in m.parameters() if p.ndim == 2]),
    "NAdam": lambda m: optim.NAdam(m.parameters(), lr=0.1, decoupled_weight_decay=True),
    "RAdam": lambda m: optim.RAdam(m.parameters(), lr=0.1),
    "RMSprop": lambda m: optim.RMSprop(m.parameters(), lr=0.01, momentum=0.5, centered=True),
    "Rprop": lambda m: optim.Rprop(m.parameters(), lr=0.01),
    "SGD": lambda m: optim.SGD(m.parameters(), lr=0.1),
    "SGD momentum": lambda m: optim.SGD(m.parameters(), lr=0.1, momentum=0.9, nesterov=True),
    "SGD fused": lambda m: optim.SGD(m.parameters(), lr=0.1, momentum=0.9, fused=True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("stepped", [False, True])
def test_an_optimiser_goes_on_with_the_same_bits(name: str, stepped: bool, tmp_path: Path) -> None:
    model = net()
    run = {"model": model, "optimizer": OPTIMIZERS[name](model)}
    for number in range(4):
        step(**run, number=number)
    other = net(seed=1)
    new = {"model": other, "optimizer": OPTIMIZERS[name](other)}
    if stepped:
        step(**new, number=9)

    statetree.save(tmp_path / "run.h5", state(run), durable=False)
    restore(new, statetree.load(tmp_path / "run.h5"))

    assert difference(state(new), state(run)) is None
    for number in range(4, 7):
        step(**run, number=number)
        step(**new, number=number)
        assert difference(state(new), state(run)) is None


@pytest.mark.parametrize("name", ["AdamW fused", "AdamW foreach", "SGD fused", "Adagrad fused"])
def test_moments_lie_in_memory_as_their_parameters_do(name: str) -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 5, 1).to(memory_format=torch.channels_last)
            self.weight = nn.Parameter(torch.randn(4, 5).t())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x[:, :, None, None])[:, :, 0, 0] @ self.weight

    run, new = ({"model": model, "optimizer": OPTIMIZERS[name](model)} for model in (Turned(), Turned()))
    step(**run, number=0)

    restore(new, state(run))
    for number in range(1, 4):
        step(**run, number=number)
        step(**new, number=number)

    assert difference(state(new), state(run)) is None


def test_a_sparse_optimiser_goes_on_with_the_same_bits() -> None:
    def made() -> Any:
        embed = nn.Embedding(6, 2, sparse=True)
        return embed, optim.SparseAdam(embed.parameters(), lr=0.1)

    def sparse_step(embed: nn.Module, optimizer: optim.Optimizer, number: int) -> None:
        optimizer.zero_grad()
        embed(torch.tensor([number % 6, 1])).square().sum().backward()
        optimizer.step()

    run, new = made(), made()
    for number in range(3):
        sparse_step(*run, number)
    restore(new, state(run))
    for number in range(3, 6):
        sparse_step(*run, number)
        sparse_step(*new, number)

    assert difference(state(new), state(run)) is None


def trained(make: Callable[[nn.Module], optim.Optimizer], *, seed: int = 0) -> dict[str, Any]:
    model = net(seed=seed)
    optimizer = make(model)
    for number in range(3):
        step(model, optimizer, number)
    return {"m": model, "o": optimizer}


def test_parameters_in_another_order_get_their_own_moments() -> None:
    run = trained(lambda m: optim.Adam(m.parameters(), lr=0.1))
    model = net(seed=1)
    new = {"m": model, "o": optim.Adam(reversed(list(model.parameters())), lr=0.1)}

    restore(new, state(run))

    for ours, theirs in zip(run["m"].parameters(), model.parameters(), strict=True):
        assert difference(state(new["o"].state[theirs]), state(run["o"].state[ours])) is None
    step(run["m"], run["o"], 5)
    step(new["m"], new["o"], 5)
    assert difference(state(model), state(run["m"])) is None


def test_an_optimiser_of_two_models_goes_by_paths_whatever_the_order() -> None:
    def gan(seed: int, *, turned: bool) -> dict[str, Any]:
        g, d = net(seed=seed), net(seed=seed + 1)
        parameters = [*d.parameters(), *g.parameters()] if turned else [*g.parameters(), *d.parameters()]
        optimizer = optim.Adam(parameters, lr=0.1)
        return {"d": d, "g": g, "o": optimizer} if turned else {"g": g, "d": d, "o": optimizer}

    run, new = gan(0, turned=False), gan(7, turned=True)
    step(nn.Sequential(run["g"], nn.Linear(2, 3), run["d"]), run["o"], 0)

    restore(new, state(run))

    for name, number in itertools.product("gd", (0, 2)):
        ours, theirs = run["o"].state[run[name][number].weight], new["o"].state[new[name][number].weight]
        assert difference(state(theirs), state(ours)) is None


def test_vectors_of_lbfgs_are_not_taken_in_another_order() -> None:
    run = trained(lambda m: optim.LBFGS(m.parameters()))
    model = net(seed=1)
    new = {"m": model, "o": optim.LBFGS(reversed(list(model.parameters())))}

    text = (
        "expected the order of the stored state, got another order (at /o/groups/#0/params): "
        "build it from the parameters in that order: LBFGS keeps vectors of all of them"
    )
    assert refusal(new, state(run)) == text


def test_parameters_in_other_groups_are_refused_by_name() -> None:
    run = trained(lambda m: optim.Adam([{"params": m[0].parameters()}, {"params": m[2].parameters()}]))
    model = net(seed=1)
    groups = [[model[0].weight], [model[0].bias, *model[2].parameters()]]
    new = {"m": model, "o": optim.Adam([{"params": group} for group in groups])}

    assert refusal(new, state(run)).splitlines() == [
        f"expected a parameter of this optimiser, got '0.bias' (at /o/groups/#0/params): {SAME}",
        f"expected the parameter '0.bias', got none of that name (at /o/groups/#1/params): {SAME}",
    ]


def test_another_number_of_groups_or_another_algorithm_is_refused() -> None:
    tree = state(trained(lambda m: optim.Adam(m.parameters())))
    model = net()
    groups = optim.Adam([{"params": model[0].parameters()}, {"params": model[2].parameters()}])
    other = optim.SGD(model.parameters())

    text = f"expected 2 groups, got 1 groups (at /o/groups): {SAME}"
    assert refusal({"m": model, "o": groups}, tree) == text
    text = "expected SGD, got str 'Adam' (at /o/algorithm): build the same optimiser"
    assert refusal({"m": model, "o": other}, tree) == text


def test_a_state_without_names_goes_by_position_only_where_that_is_asked_for() -> None:
    tree = state(trained(lambda m: optim.Adam(m.parameters()))["o"])
    model = net(seed=1)
    positions, named = optim.Adam(model.parameters()), {"m": model, "o": optim.Adam(model.parameters())}
    remedy = f"{HOW}; or pass by_position=True if the parameters are in the same order"

    text = f"expected parameters by name, got positions only in the stored state (at /groups): {remedy}"
    assert refusal(positions, tree) == text
    text = f"expected parameters by name, got positions only in this optimiser (at /groups): {remedy}"
    assert refusal(positions, state(trained(lambda m: optim.Adam(m.named_parameters()))["o"])) == text

    restore(positions, tree, by_position=True)
    restore(named, {"m": state(model), "o": tree}, by_position=True)

    assert difference(state(positions), tree) is None
    assert difference(state(named["o"]), tree) is None


def test_by_position_their_number_must_agree() -> None:
    tree = state(trained(lambda m: optim.Adam(m.parameters()))["o"])
    optimizer = optim.Adam(list(net().parameters())[:3])

    text = f"expected 3 parameters, got 4 (at /groups/#0/params): {SAME}"
    assert refusal(optimizer, tree, by_position=True) == text


def test_an_optimiser_that_knows_its_names_takes_a_state_by_name() -> None:
    run = trained(lambda m: optim.Adam(m.parameters()))
    model = net(seed=1)
    optimizer = optim.Adam(reversed(list(model.named_parameters())))

    restore(optimizer, state(run)["o"])

    assert difference(state(optimizer.state[model[0].weight]), state(run["o"].state[run["m"][0].weight])) is None


def test_parameters_without_state_have_none_afterwards() -> None:
    run = trained(lambda m: optim.Adam([p for p in m.parameters() if p.requires_grad]))
    frozen = trained(lambda m: optim.Adam(m[0].requires_grad_(requires_grad=False) and m.parameters()), seed=1)

    restore(run, state(frozen))

    assert list(state(run)["o"]["state"]) == ["2.weight", "2.bias"]
    assert difference(state(run), state(frozen)) is None


def test_settings_of_the_machine_stay_and_the_others_are_restored() -> None:
    model, other = net(), net()
    run = {"m": model, "o": optim.Adam(model.parameters(), lr=0.5, foreach=True, betas=(0.5, 0.9), weight_decay=0)}
    new = {"m": other, "o": optim.Adam(other.parameters(), lr=1, fused=True, betas=(0.0, 0.1), weight_decay=0.1)}

    restore(new, state(run))

    group = new["o"].param_groups[0]
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.5, (0.5, 0.9), 0)
    assert (group["foreach"], group["fused"]) == (None, True)


def test_a_rate_that_is_a_tensor_is_filled_in_place_and_no_number_takes_its_place() -> None:
    rate = torch.tensor(0.1)
    model = net()
    tensor = {"m": model, "o": optim.Adam(model.parameters(), lr=rate)}
    number = {"m": model, "o": optim.Adam(model.parameters(), lr=0.1)}
    saved = state({"m": model, "o": optim.Adam(model.parameters(), lr=torch.tensor(0.5))})

    restore(tensor, saved)

    assert (tensor["o"].param_groups[0]["lr"] is rate, rate.item()) == (True, 0.5)
    text = f"expected an array of float32 (), got float 0.1 (at /o/groups/#0/lr): {BUILD}"
    assert refusal(tensor, state(number)) == text
    remedy = "put an array there, or convert it with migrate="
    text = f"expected float, as in 0.1, got an array of float32 () (at /o/groups/#0/lr): {remedy}"
    assert refusal(number, saved) == text


def test_what_a_scheduler_added_to_the_groups_is_restored_as_it_was() -> None:
    model, other = net(), net()
    run = {"m": model, "o": optim.SGD(model.parameters(), lr=torch.tensor(0.5))}
    new = {"m": other, "o": optim.SGD(other.parameters(), lr=torch.tensor(0.1))}
    lr_scheduler.StepLR(run["o"], 2)

    restore(new, state(run))

    initial = new["o"].param_groups[0]["initial_lr"]
    assert difference(state(initial), np.array(0.5, "f4")) is None
    assert isinstance(initial, torch.Tensor)


def test_a_setting_that_was_not_saved_is_missing() -> None:
    model = net()
    optimizer = optim.SGD(model.parameters())
    tree = state({"m": model, "o": optimizer})
    lr_scheduler.StepLR(optimizer, 2)

    text = f"expected the setting 'initial_lr', got none (at /o/groups/#0/initial_lr): {ADD}"
    assert refusal({"m": model, "o": optimizer}, tree) == text


def test_an_entry_that_does_not_fit_is_left_whole() -> None:
    run, new = (trained(lambda m: optim.Adam(m.parameters()), seed=seed) for seed in (0, 1))
    new["m"] = net(width=5)
    new["o"] = optim.Adam(new["m"].parameters())
    step(new["m"], new["o"], 0)
    before = state(new)

    assert refusal(new, state(run)).splitlines()[3:5] == [
        f"expected shape (5, 3), got (4, 3) (at /o/state/0.weight/exp_avg): {SAME}",
        f"expected shape (5, 3), got (4, 3) (at /o/state/0.weight/exp_avg_sq): {SAME}",
    ]
    _, problems = restore(new, state(run), strict=False)

    entries = state(new)["o"]["state"]
    assert len(problems) == 3 + 3 * 2
    assert difference(entries["0.weight"], before["o"]["state"]["0.weight"]) is None
    assert difference(entries["2.bias"], state(run)["o"]["state"]["2.bias"]) is None
    step(new["m"], new["o"], 1)


def record(tree: Record, **fields: Any) -> Record:
    return Record({**dict(tree.items()), **fields}, label=tree.label)


def test_a_tree_that_is_no_state_of_an_optimiser_is_refused() -> None:
    run = trained(lambda m: optim.SGD(m.parameters(), momentum=0.9))
    tree = state(run)
    good = tree["o"]
    group = good["groups"][0]
    no_states = [
        *(5, {}, (), Record({"algorithm": "SGD"}, label="torch.Optimizer"), Record(dict(good.items()), label="x")),
        *(record(good, state=[]), record(good, groups=5), record(good, groups=[5]), record(good, groups=[{}])),
        *(record(good, groups=[{**group, "params": names}]) for names in (5, [[]], [None], ["0.weight", "0.weight"])),
    ]

    for bad in no_states:
        assert refusal(run, {**tree, "o": bad}).startswith("expected the state of an optimiser, got ")
    found = refusal(run, {**tree, "o": record(good, state={**good["state"], "0.weight": 5, "no": {}})})
    assert found.splitlines() == [
        f"expected a dict, got int 5 (at /o/state/0.weight): {SAME}",
        f"expected state of a parameter in its groups, got 'no' (at /o/state/no): {SAME}",
    ]


def test_cast_reaches_the_moments_that_are_not_there_yet() -> None:
    double = net().double()
    run = {"m": double, "o": optim.Adam(double.parameters(), lr=0.1)}
    step(run["m"], run["o"], 0)
    model = net(seed=1)
    new = {"m": model, "o": optim.Adam(model.parameters(), lr=0.1)}

    restore(new, state(run), cast=True)
    step(new["m"], new["o"], 1)

    assert {value.dtype for entry in new["o"].state.values() for value in entry.values()} == {torch.float32}


def test_what_an_optimiser_keeps_for_itself_is_restored() -> None:
    model, other = net(), net()
    run, new = ({"m": m, "o": optim.SGD(m.parameters())} for m in (model, other))
    run["o"].state["rounds"] = {"n": 3, "mean": torch.ones(2)}

    restore(new, state(run))

    assert isinstance(new["o"].state["rounds"]["mean"], torch.Tensor)
    assert difference(state(new), state(run)) is None
    text = f"expected a value, got none (at /o/state/~(rounds,)): {ADD}"
    assert refusal(run, state({"m": other, "o": optim.SGD(other.parameters())})) == text


# Schedulers


class Decay:
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __call__(self, epoch: int) -> float:
        return self.rate**epoch


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o, 0.1, 1.0, 3), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "ConstantLR": lr_scheduler.ConstantLR,
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3, 2),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False, mode="exp_range", gamma=0.9),
    "CyclicLR with an object": lambda o: lr_scheduler.CyclicLR(
        o, 0.01, 0.1, 3, cycle_momentum=False, scale_fn=Decay(0.9)
    ),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "LambdaLR with an object": lambda o: lr_scheduler.LambdaLR(o, Decay(0.9)),
    "LinearLR": lr_scheduler.LinearLR,
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, Decay(0.9)),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 4, 4, 6]),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=20),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 10),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 3), lr_scheduler.CosineAnnealingLR(o, 5)], [3]
    ),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "SWALR": lambda o: SWALR(o, 0.05, anneal_epochs=4),
}


def scheduled(name: str, rate: float, *, as_tensor: bool) -> dict[str, Any]:
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=torch.tensor(rate) if as_tensor else rate)
    return {"model": model, "optimizer": optimizer, "scheduler": SCHEDULERS[name](optimizer)}


def scheduled_step(model: nn.Module, optimizer: optim.Optimizer, scheduler: Any, number: int) -> None:
    step(model, optimizer, number)
    scheduler.step(*([1.0 + number % 3] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("as_tensor", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_a_scheduler_goes_on_with_the_same_rates(name: str, as_tensor: bool, tmp_path: Path) -> None:
    run, new = (scheduled(name, rate, as_tensor=as_tensor) for rate in (0.1, 0.3))
    for number in range(5):
        scheduled_step(**run, number=number)

    statetree.save(tmp_path / "run.bson", state(run), durable=False)
    restore(new, statetree.load(tmp_path / "run.bson"))

    assert difference(state(new), state(run)) is None
    for number in range(5, 12):
        scheduled_step(**run, number=number)
        scheduled_step(**new, number=number)
    assert difference(state(new), state(run)) is None


def test_milestones_stay_a_counter() -> None:
    run, new = (scheduled("MultiStepLR", 0.1, as_tensor=False)["scheduler"] for _ in range(2))

    restore(new, state(run))

    assert (type(new.milestones), new.milestones) == (Counter, Counter({2: 1, 4: 2, 6: 1}))


def test_the_state_of_another_scheduler_is_refused() -> None:
    optimizer = optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1)
    tree = state({"s": lr_scheduler.ExponentialLR(optimizer, 0.9)})
    new = {"s": lr_scheduler.StepLR(optimizer, 2)}

    assert refusal(new, tree) == f"expected a value, got none (at /s/step_size): {ADD}"
    assert refusal(new, {"s": 5}) == f"expected a dict of {len(state(new)['s'])}, got int 5 (at /s): {BUILD}"
    restored, problems = restore(new, tree, strict=False)
    assert (restored["s"].step_size, restored["s"].gamma, len(problems)) == (2, 0.1, 1)


class Fragile(lr_scheduler.StepLR):
    def load_state_dict(self, state_dict: Any) -> None:
        super().load_state_dict(state_dict)
        if state_dict["last_epoch"] > 0:
            raise ValueError("too late")


def test_what_a_scheduler_refuses_is_undone_and_nothing_else_was_changed() -> None:
    model = nn.Linear(1, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    first, last = lr_scheduler.StepLR(optimizer, 2), Fragile(optimizer, 2)
    new = {"model": model, "first": first, "last": last}
    tree = state(new)
    before = copy.deepcopy(tree)
    for name in ("first", "last"):
        tree[name]["last_epoch"] = 3
    tree["model"]["weight"] += 1

    with pytest.raises(ValueError, match="too late"):
        restore(new, tree)

    assert difference(state(new), before) is None


def test_a_gradient_scaler_goes_on_and_one_that_is_off_takes_nothing() -> None:
    on, off = torch.amp.GradScaler("cpu", init_scale=8.0), torch.amp.GradScaler("cpu", enabled=False)
    new = torch.amp.GradScaler("cpu")

    restore([new, off], state([on, off]))

    assert new.get_scale() == 8
    with pytest.raises(RuntimeError, match="source state dict is empty"):
        restore(new, state(off))
    assert new.get_scale() == 8


# Modules


def test_tensors_are_filled_in_place() -> None:
    run, new = net(), net(seed=1)
    held = list(new.parameters())
    transposed, offset = torch.zeros(3, 2).t(), torch.zeros(9)[1::4]

    restored = restore([new, transposed, offset], state([run, torch.ones(2, 3), torch.full((2,), 5.0)]))

    assert restored[0] is new
    assert all(a is b for a, b in zip(held, new.parameters(), strict=True))
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in new.parameters())
    assert difference(state(new), state(run)) is None
    assert (transposed.tolist(), offset.tolist()) == ([[1.0] * 3] * 2, [5, 5])


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad, torch.no_grad])
def test_tensors_are_filled_in_every_mode(mode: Any) -> None:
    plain, made_in_mode = nn.Linear(2, 2), torch.inference_mode()(torch.zeros)(2)
    tree = state([net()[0], torch.ones(2)])
    tree[0] = {"weight": np.ones((2, 2), "f4"), "bias": np.ones(2, "f4")}

    with mode():
        restore([plain, made_in_mode], tree)

    assert difference(state([plain, made_in_mode]), tree) is None
    plain(torch.ones(2)).sum().backward()


def test_arrays_of_any_byte_order_and_layout_fill_a_tensor() -> None:
    tensors = [torch.zeros(3), torch.zeros(2, 3), torch.zeros(2, dtype=torch.bfloat16)]
    tree = [np.arange(3, dtype=">f4"), np.arange(12, dtype="f4").reshape(6, 2).T[:, ::-2], np.ones(2, "bfloat16")]
    for array in tree:
        array.flags.writeable = False

    restore(tensors, tree)

    assert difference(state(tensors), [np.ascontiguousarray(a).astype(a.dtype.newbyteorder("=")) for a in tree]) is None
    assert not np.shares_memory(tree[1], tensors[1].numpy())


DTYPES = [
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"),
    *("complex64", "complex128", "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    *("float8_e8m0fnu", "float4_e2m1fn_x2"),
]


def raw(name: str, start: int) -> tuple[torch.Tensor, ...]:
    """Return tensors of one dtype with bits of every kind: of two dimensions, of none, and empty."""
    bits = torch.arange(start, start + 96, dtype=torch.uint8) * 37
    tensor = bits.view(getattr(torch, name))
    return tensor.reshape(2, -1), bits[:16].clone().view(tensor.dtype)[0], tensor[:0]


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip", ".bson"])
def test_every_dtype_comes_back_from_a_file_with_every_bit(suffix: str, tmp_path: Path) -> None:
    run, new = ([raw(name, start) for name in DTYPES] for start in (7, 60))

    statetree.save(tmp_path / f"all{suffix}", state(run), durable=False)
    restore(new, statetree.load(tmp_path / f"all{suffix}"))

    for (ours, scalar, _), (theirs, other_scalar, _) in zip(run, new, strict=True):
        assert torch.equal(theirs.view(torch.uint8), ours.view(torch.uint8))
        assert torch.equal(other_scalar.reshape(1).view(torch.uint8), scalar.reshape(1).view(torch.uint8))
    assert difference(state(new), state(run)) is None


class Tied(nn.Module):
    def __init__(self, *, tied: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(5, 4)
        self.head = nn.Linear(4, 5, bias=False)
        if tied:
            self.head.weight = self.embed.weight
        self.register_buffer("top", self.embed.weight.detach()[:2])


def test_tied_weights_stay_tied_and_must_have_one_value() -> None:
    tied, new, untied = Tied(), Tied(), Tied(tied=False)

    restore(new, state(tied))

    assert new.head.weight is new.embed.weight
    assert difference(state(new), state(tied)) is None
    text = (
        "expected the value of /embed/weight, which is the same array here, got another value (at /head/weight): "
        "tie them in the model that was saved, or untie them here"
    )
    assert refusal(new, state(untied)) == text
    restore(untied, state(tied))
    assert untied.head.weight is not untied.embed.weight
    assert torch.equal(untied.head.weight, tied.embed.weight)


def test_what_is_missing_unexpected_or_of_another_shape_or_dtype_is_told_at_once() -> None:
    saved = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2), nn.Linear(2, 2))
    new = nn.Sequential(nn.Linear(2, 3), nn.Linear(2, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 2).half())

    assert refusal({"m": new}, {"m": state(saved)}).splitlines() == [
        f"expected shape (3, 2), got (2, 2) (at /m/0/weight): {BUILD}",
        f"expected shape (3,), got (2,) (at /m/0/bias): {BUILD}",
        f"expected a value, got none (at /m/1/bias): {ADD}",
        f"expected nothing, got an array of float32 (2,) (at /m/2/bias): {LEAVE}",
        "expected float16, got float32 (at /m/3/weight): build it with that dtype, or pass cast=True",
        "expected float16, got float32 (at /m/3/bias): build it with that dtype, or pass cast=True",
    ]


CANNOT: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "meta": (
        lambda: nn.Linear(2, 2, device="meta"),
        "expected a tensor with values, got a tensor on the meta device (at /{}): give the model memory with "
        "model.to_empty(device='cpu'), and its weights",
    ),
    "lazy": (
        lambda: nn.LazyLinear(2),
        "expected a tensor with values, got an UninitializedParameter (at /{}): run the model once on an example, so "
        "that its lazy layers get their shapes",
    ),
}


@pytest.mark.parametrize("name", CANNOT)
@pytest.mark.filterwarnings("ignore")
def test_all_tensors_that_cannot_be_filled_are_told_at_once(name: str) -> None:
    make, text = CANNOT[name]
    model, plain = make(), nn.Linear(2, 2)
    before = state(plain)

    with pytest.raises(RestoreError) as caught:
        restore({"p": plain, "m": model}, state({"p": nn.Linear(2, 2), "m": nn.Linear(2, 2)}))

    assert str(caught.value).splitlines() == [text.format("m/weight"), text.format("m/bias")]
    assert difference(state(plain), before) is None


def test_a_model_on_the_meta_device_is_restored_once_it_has_memory() -> None:
    model = nn.Linear(2, 2, device="meta").to_empty(device="cpu")
    run = nn.Linear(2, 2)

    restore(model, state(run))

    assert difference(state(model), state(run)) is None


def test_an_expanded_tensor_is_refused_before_anything_is_changed() -> None:
    new = [torch.zeros(2), torch.zeros(3, 1).expand(3, 4), torch.zeros(6).unfold(0, 3, 1)]

    text = "expected an array that can be written to, got an expanded tensor, whose elements share memory (at /#{}): {}"
    remedy = "build it with a clone() of that tensor"
    assert refusal(new, state([torch.ones(2), torch.ones(3, 4), torch.ones(4, 3)])).splitlines() == [
        text.format(1, remedy),
        text.format(2, remedy),
    ]
    restore(
        [torch.zeros(1, 5).expand(1, 5), torch.zeros(0, 1).expand(0, 3)], state([torch.ones(1, 5), torch.ones(0, 3)])
    )


def test_modules_that_have_moved_are_found_with_rename() -> None:
    run = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    new = nn.ModuleDict({"layers": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))})

    restore(new, state(run), rename={"/*/weight": "/layers/*/weight", "/*/bias": "/layers/*/bias"})

    assert difference(state(new), {"layers": state(run)}) is None


MADE: dict[str, Callable[[], nn.Module]] = {
    "batch norm": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),
    "weight norm by hooks": lambda: torch.nn.utils.weight_norm(nn.Linear(3, 4)),
    "weight norm": lambda: parametrizations.weight_norm(nn.Linear(3, 4)),
    "spectral norm by hooks": lambda: torch.nn.utils.spectral_norm(nn.Linear(3, 4)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Linear(3, 4)),
    "orthogonal": lambda: parametrizations.orthogonal(nn.Linear(3, 4)),
    "pruned": lambda: prune.random_unstructured(nn.Linear(3, 4), "weight", 0.5),
    "averaged": lambda: AveragedModel(nn.Linear(3, 4), multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    "transformer": lambda: nn.Sequential(nn.Unflatten(1, (1, 3)), nn.TransformerEncoderLayer(3, 1, 4)),
    "recurrent": lambda: nn.GRU(3, 4, num_layers=2),
    "scripted": lambda: torch.jit.script(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))),
    "traced by fx": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Linear(3, 4), nn.ReLU())),
    "compiled": lambda: torch.compile(nn.Linear(3, 4), backend="eager"),
    "data parallel": lambda: nn.Sequential(nn.DataParallel(nn.Linear(3, 4))),
    "lazy that has run": lambda: ran(nn.Sequential(nn.LazyLinear(4), nn.LazyBatchNorm1d())),
    "channels last": lambda: nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Conv2d(3, 4, 1)).to(
        memory_format=torch.channels_last
    ),
}


def ran(model: nn.Module) -> nn.Module:
    for _ in range(2):
        model(torch.randn(4, 3))
    return model


@pytest.mark.parametrize("name", MADE)
@pytest.mark.filterwarnings("ignore")
def test_a_restored_module_computes_the_same_bits(name: str) -> None:
    run = MADE[name]()
    ran(run)
    torch.manual_seed(1)
    new = MADE[name]()
    x = torch.randn(5, 3)

    restored = restore(new, state(run))

    assert restored is new
    assert difference(state(new), state(run)) is None
    outcomes = [model.eval()(x) for model in (run, new)]
    assert difference(state(outcomes[1]), state(outcomes[0])) is None


def test_wrappers_may_come_and_go() -> None:
    plain, compiled = nn.Sequential(nn.Linear(2, 2)), torch.compile(nn.Sequential(nn.DataParallel(nn.Linear(2, 2))))
    tree = state(nn.DataParallel(nn.Sequential(nn.Linear(2, 2))))

    restore([plain, compiled], [tree, tree])

    assert difference(state(plain), tree) is None
    assert difference(state(compiled), tree) is None


def test_an_averaged_model_goes_on_averaging() -> None:
    run, new = ([net(), AveragedModel(net(), multi_avg_fn=get_ema_multi_avg_fn(0.9))] for _ in range(2))
    run[1].update_parameters(run[0])

    restore(new, state(run))
    for model, average in (run, new):
        average.update_parameters(model)

    assert difference(state(new), state(run)) is None


# Modules with code of their own


class Cached(nn.Module):
    """Keeps something that depends on its weight, and hears of a new one by a hook."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2))
        self.fails = False
        self.register_load_state_dict_post_hook(Cached.refresh)
        self.refresh(None)

    def refresh(self, _: Any) -> None:
        self.cache = self.weight.detach() * 2
        if self.fails:
            raise ValueError("refused by a hook")


def test_hooks_on_load_state_dict_are_called() -> None:
    run, new = nn.Sequential(Cached(), nn.Linear(1, 1)), nn.Sequential(Cached(), nn.Linear(1, 1))

    restore(new, state(run))

    assert difference(state([new, new[0].cache]), state([run, run[0].cache])) is None


def test_what_a_hook_refuses_is_undone_and_nothing_else_was_changed() -> None:
    first, second, plain = Cached(), Cached(), nn.Linear(1, 1)
    new = [nn.Sequential(first), plain, nn.Sequential(second)]
    before = state([new, first.cache])
    second.fails = True

    with pytest.raises(ValueError, match="refused by a hook"):
        restore(new, state([nn.Sequential(Cached()), nn.Linear(1, 1), nn.Sequential(Cached())]))

    assert difference(state([new, first.cache]), before) is None


class Scaled(nn.Module):
    """Writes more than tensors, and a tensor of which its parameter is made."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2))
        self.scale = scale
        self.settings: Any = {"steps": [1], "mean": torch.zeros(2)}

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}scaled"] = self.weight.detach() * self.scale
        destination[f"{prefix}scale"] = self.scale
        destination[f"{prefix}settings"] = self.settings

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *_: Any) -> None:
        self.scale = state_dict[f"{prefix}scale"]
        self.settings = state_dict[f"{prefix}settings"]
        with torch.no_grad():
            self.weight.copy_(state_dict[f"{prefix}scaled"] / self.scale)


def test_a_module_that_writes_its_own_state_reads_it_too() -> None:
    run, new = nn.Sequential(Scaled(2.0), nn.Linear(1, 1)), nn.Sequential(Scaled(4.0), nn.Linear(1, 1))
    run[0].settings = {"steps": [3, 4], "mean": torch.ones(2), "more": torch.ones(1)}

    restore(new, state(run))

    assert difference(state(new), state(run)) is None
    assert [type(new[0].settings[key]) for key in ("mean", "more")] == [torch.Tensor, torch.Tensor]
    assert torch.equal(new[0].weight, run[0].weight)
    without = {name: value for name, value in state(run)["0"].items() if name != "scale"}
    _, problems = restore(new, {**state(run), "0": without}, strict=False)
    assert (new[0].scale, [problem.path for problem in problems]) == (2.0, [("0", "scale")])
    text = f"expected shape (2,), got (3,) (at /0/scaled): {BUILD}"
    assert refusal(new, {**state(run), "0": {**state(run)["0"], "scaled": np.ones(3, "f4")}}) == text


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2))

    def state_dict(self) -> Any:
        return {"halved": self.weight.detach() / 2}

    def load_state_dict(self, state: Any) -> None:
        self.weight.data = state["halved"] * 2


def test_a_module_that_writes_a_whole_state_dict_reads_it_too() -> None:
    run, new = Own(), Own()

    restore({"own": new}, state({"own": run}))

    assert torch.equal(new.weight, run.weight)


class Extra(nn.Module):
    def __init__(self, value: Any = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1))
        self.value = value

    def get_extra_state(self) -> Any:
        return self.value

    def set_extra_state(self, state: Any) -> None:
        self.value = state
        if state == "bad":
            raise ValueError("no such extra state")


@pytest.mark.parametrize("value", [(1, "a", [2.5]), {"a": torch.ones(2), 3: [torch.zeros(1)]}, torch.ones(2), None])
def test_extra_state_comes_back_with_tensors_in_it(value: Any) -> None:
    run, new = nn.Sequential(Extra(value)), nn.Sequential(Extra())

    restore(new, state(run))

    assert difference(state(new), state(run)) is None
    assert isinstance(new[0].value, type(value))
    if isinstance(value, dict):
        assert [type(new[0].value["a"]), type(new[0].value[3][0])] == [torch.Tensor, torch.Tensor]


def test_extra_state_that_is_refused_is_undone() -> None:
    new = nn.Sequential(Extra({"a": [1]}), Extra(2))
    before = state(new)

    with pytest.raises(ValueError, match="no such extra state"):
        restore(new, state(nn.Sequential(Extra({"a": [5]}), Extra("bad"))))

    assert difference(state(new), before) is None


# Objects that hold models


@dataclasses.dataclass
class Meter:
    total: float = 0.0


class Trainer:
    def __init__(self, seed: int) -> None:
        self.model = net(seed=seed)
        self.optimizer = optim.Adam(self.model.parameters())
        self.scheduler = lr_scheduler.StepLR(self.optimizer, 2)
        self.generator = torch.Generator().manual_seed(seed)
        self.meter, self.epoch = Meter(float(seed)), seed
        self.seen: Any = None

    def __statetree__(self) -> Any:
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return {**parts, "rest": [self.generator, (self.meter,), np.full(2, self.epoch)], "epoch": self.epoch}

    def __load_statetree__(self, tree: Any) -> None:
        self.seen = tree["model"] is self.model, state(tree["model"]), tree["rest"][1][0] is self.meter
        self.epoch = tree["epoch"]
        if self.epoch < 0:
            raise ValueError("no such epoch")


def test_models_inside_of_an_object_with_its_own_protocol_are_restored_before_it_is_called() -> None:
    run, new = Trainer(1), Trainer(2)
    step(run.model, run.optimizer, 0)
    run.scheduler.step()

    restore({"trainer": new}, state({"trainer": run}))

    assert new.seen[0::2] == (True, True)
    assert difference(new.seen[1], state(run.model)) is None
    assert difference(state(new), state(run)) is None
    step(run.model, run.optimizer, 1)
    step(new.model, new.optimizer, 1)
    assert difference(state(new), state(run)) is None


def test_what_does_not_fit_inside_of_such_an_object_is_refused() -> None:
    new = Trainer(1)
    new.model[0] = nn.Linear(3, 5)
    new.optimizer = optim.Adam(new.model.parameters())
    new.scheduler = lr_scheduler.StepLR(new.optimizer, 2)

    assert refusal({"t": new}, state({"t": Trainer(2)})).splitlines() == [
        f"expected shape (5, 3), got (4, 3) (at /t/model/0/weight): {BUILD}",
        f"expected shape (5,), got (4,) (at /t/model/0/bias): {BUILD}",
    ]


def test_models_inside_of_an_object_that_refuses_are_as_they_were() -> None:
    run, new, plain = Trainer(1), Trainer(2), nn.Linear(1, 1)
    step(run.model, run.optimizer, 0)
    run.epoch = -1
    before = state([new, plain])

    with pytest.raises(ValueError, match="no such epoch"):
        restore([new, plain], state([run, nn.Linear(1, 1)]))

    assert difference(state([new, plain]), before) is None


def test_a_size_is_made_anew() -> None:
    restored = restore({"size": torch.Size((1, 2))}, {"size": (3, 4)})

    assert (type(restored["size"]), restored["size"]) == (torch.Size, (3, 4))


# Random numbers


def test_a_generator_goes_on_where_it_was(tmp_path: Path) -> None:
    run, new = torch.Generator().manual_seed(5), torch.Generator()
    torch.randn(3, generator=run)

    statetree.save(tmp_path / "rng.zarr", state([run]), durable=False)
    restore([new], statetree.load(tmp_path / "rng.zarr"))

    assert torch.equal(torch.randn(9, generator=new), torch.randn(9, generator=run))


@pytest.mark.parametrize("first", ["torch", "PCG64", "legacy"])
def test_a_state_that_a_generator_refuses_is_undone_and_nothing_else_was_changed(first: str) -> None:
    good = {
        "torch": torch.Generator().manual_seed(1),
        "PCG64": np.random.default_rng(1),
        "legacy": np.random.RandomState(1),
    }
    new = {"first": good[first], "bad": torch.Generator(), "model": nn.Linear(1, 1)}
    tree = state(new)
    before = copy.deepcopy(tree)
    tree["bad"] = Record({"device": "cpu", "state": np.zeros_like(tree["bad"]["state"])}, label="torch.Generator")
    tree["model"]["weight"] += 1
    tree["first"] = state(type(good[first])(7) if first == "legacy" else other(good[first]))

    with pytest.raises(RuntimeError, match="mt19937"):
        restore(new, tree)

    assert difference(state(new), before) is None


def other(generator: Any) -> Any:
    return torch.Generator().manual_seed(7) if isinstance(generator, torch.Generator) else np.random.default_rng(7)


def test_a_generator_of_another_device_is_refused() -> None:
    tree = Record({"device": "cuda:0", "state": np.zeros(16, np.uint8)}, label="torch.Generator")

    assert refusal({"g": torch.Generator()}, {"g": tree}).splitlines() == [
        "expected 'cpu', got str 'cuda:0' (at /g/device): build it with the same one",
        f"expected shape (5056,), got (16,) (at /g/state): {BUILD}",
    ]


def test_global_generators_of_a_device_that_is_not_here_are_refused_or_left_out() -> None:
    tree = rng_state()
    numbers = torch.rand(3)
    tree["torch"].append(Record({"device": "cuda:0", "state": np.zeros(16, np.uint8)}, label="torch.Generator"))

    with pytest.raises(RestoreError) as caught:
        restore_rng(tree)
    assert str(caught.value) == f"expected nothing, got a record torch.Generator (at /torch/#1): {LEAVE}"
    restore_rng(tree, strict=False)

    assert torch.equal(torch.rand(3), numbers)


# Data loaders

DATA = torch.utils.data.TensorDataset(torch.arange(24))


def loader(workers: int) -> Any:
    # A fork of a process in which JAX runs threads may lock up.
    context = "forkserver" if workers else None
    return StatefulDataLoader(DATA, batch_size=4, shuffle=True, num_workers=workers, multiprocessing_context=context)


def rest(batches: Any) -> list[Any]:
    return [batch[0].tolist() for batch in batches]


@pytest.mark.parametrize(("workers", "taken"), [(0, 0), (0, 2), (0, 6), (2, 3)])
def test_a_shuffled_loader_goes_on_in_the_middle_of_an_epoch(workers: int, taken: int, tmp_path: Path) -> None:
    torch.manual_seed(1)
    run = loader(workers)
    batches = iter(run)
    for _ in range(taken):
        next(batches)
    statetree.save(tmp_path / "run.h5", state({"loader": run, "rng": rng_state()}), durable=False)
    expected = [rest(batches), rest(run)]

    torch.manual_seed(2)
    new, tree = loader(workers), statetree.load(tmp_path / "run.h5")
    restore({"loader": new}, {"loader": tree["loader"]})
    restore_rng(tree["rng"])

    assert [rest(new), rest(new)] == expected
    assert [len(part) for part in expected] == [6 - taken, 6]


class Stream(torch.utils.data.IterableDataset[Any]):
    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[int]:
        while self.position < 20:
            self.position += 1
            yield self.position

    def state_dict(self) -> Any:
        return {"position": self.position}

    def load_state_dict(self, state: Any) -> None:
        self.position = state["position"]


def test_a_loader_of_a_stream_goes_on() -> None:
    run, new = (StatefulDataLoader(Stream(), batch_size=3) for _ in range(2))
    batches = iter(run)
    next(batches)

    restore(new, state(run))

    assert [part.tolist() for part in new] == [part.tolist() for part in batches]


def test_a_loader_of_nodes_goes_on() -> None:
    def made() -> Any:
        return nodes.Loader(nodes.Batcher(nodes.IterableWrapper(range(20)), batch_size=3))

    run, new = made(), made()
    batches = iter(run)
    next(batches)

    restore(new, state(run))

    assert list(new) == list(batches)


def test_a_loader_is_touched_only_when_nothing_else_can_fail() -> None:
    run, new = loader(0), loader(0)
    next(iter(run))
    batches = iter(new)
    tree = state({"loader": run, "extra": Extra("bad")})
    before = state(new)

    with pytest.raises(ValueError, match="no such extra state"):
        restore({"loader": new, "extra": Extra(1)}, tree)

    assert difference(state(new), before) is None
    assert len(rest(batches)) == 6

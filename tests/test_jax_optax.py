"""Optimisers of optax: a fresh one that takes a saved state makes the same next step, bit for bit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import statetree as st
from jax_trees import in_order
from statetree import Record, RestoreError, difference, restore, state
from statetree_spec import registry

# optax

_IS_MATRIX = {"w": True, "b": False}
_SPLIT = {"w": "matrix", "b": "rest"}
SCHEDULE = optax.warmup_cosine_decay_schedule(0.0, 0.1, 2, 10)
TRANSFORMS: dict[str, Callable[[], Any]] = {
    # Aliases
    "adabelief": lambda: optax.adabelief(SCHEDULE),
    "adadelta": lambda: optax.adadelta(0.1),
    "adafactor": lambda: optax.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
    "adagrad": lambda: optax.adagrad(0.1),
    "adam": lambda: optax.adam(SCHEDULE, mu_dtype=jnp.bfloat16),
    "adamax": lambda: optax.adamax(0.1),
    "adamaxw": lambda: optax.adamaxw(0.1, mask=_IS_MATRIX),
    "adamw": lambda: optax.adamw(SCHEDULE, mask=_IS_MATRIX),
    "adan": lambda: optax.adan(0.1),
    "amsgrad": lambda: optax.amsgrad(0.1),
    "fromage": lambda: optax.fromage(0.1),
    "lamb": lambda: optax.lamb(0.1),
    "lars": lambda: optax.lars(0.1, 0.01, momentum=0.9),
    "lbfgs": lambda: optax.lbfgs(memory_size=2),
    "lbfgs backtracking": lambda: optax.lbfgs(
        memory_size=2, linesearch=optax.scale_by_backtracking_linesearch(5, store_grad=True)
    ),
    "lion": lambda: optax.lion(0.1),
    "nadamw": lambda: optax.nadamw(0.1),
    "noisy_sgd": lambda: optax.noisy_sgd(0.1, key=jax.random.key(0)),
    "novograd": lambda: optax.novograd(0.1),
    "optimistic_adam_v2": lambda: optax.optimistic_adam_v2(0.1),
    "optimistic_gradient_descent": lambda: optax.optimistic_gradient_descent(0.1),
    "polyak_sgd": optax.polyak_sgd,
    "radam": lambda: optax.radam(0.1),
    "rmsprop": lambda: optax.rmsprop(0.1, centered=True, momentum=0.9, nesterov=True),
    "rmsprop plain": lambda: optax.rmsprop(0.1),
    "rmsprop corrected": lambda: optax.rmsprop(0.1, bias_correction=True),
    "rmsprop centered and corrected": lambda: optax.rmsprop(0.1, centered=True, bias_correction=True),
    "rprop": lambda: optax.rprop(0.1),
    "sgd": lambda: optax.sgd(0.1),
    "sgd momentum": lambda: optax.sgd(0.1, 0.9, accumulator_dtype=jnp.bfloat16),
    "sign_sgd": lambda: optax.sign_sgd(0.1),
    "sm3": lambda: optax.sm3(0.1, 0.9),
    "yogi": lambda: optax.yogi(0.1),
    # Wrappers and parts
    "chain": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.adaptive_grad_clip(0.1), optax.adam(SCHEDULE)),
    "named_chain": lambda: optax.named_chain(("clip", optax.clip(1.0)), ("adam", optax.adam(0.1))),
    "add_noise": lambda: optax.add_noise(0.1, 0.5, key=jax.random.key(3)),
    "apply_every": lambda: optax.apply_every(2),
    "apply_if_finite": lambda: optax.apply_if_finite(optax.adam(0.1), 3),
    "conditionally_mask": lambda: optax.conditionally_mask(optax.adam(0.1), lambda step: step > 1),
    "conditionally_transform": lambda: optax.conditionally_transform(optax.adam(0.1), lambda step: step > 1),
    "decay schedule": lambda: optax.add_decayed_weights(optax.linear_schedule(0.1, 0.0, 5), mask=_IS_MATRIX),
    "ema": lambda: optax.chain(optax.adam(0.1), optax.ema(0.9)),
    "flatten": lambda: optax.flatten(optax.adam(0.1)),
    "freeze": lambda: optax.chain(optax.freeze(_IS_MATRIX), optax.adam(0.1)),
    "inject_hyperparams": lambda: optax.inject_hyperparams(optax.adamw)(0.1, b1=SCHEDULE),
    "keep_params_nonnegative": lambda: optax.chain(optax.sgd(0.1), optax.keep_params_nonnegative()),
    "masked": lambda: optax.masked(optax.adam(0.1), _IS_MATRIX),
    "lookahead": lambda: optax.lookahead(optax.adam(0.1), 2, 0.5),
    "multi_steps": lambda: optax.MultiSteps(optax.adam(0.1), 2).gradient_transformation(),
    "multi_steps skipping": lambda: optax.MultiSteps(
        optax.adam(0.1), 2, should_skip_update_fn=optax.skip_not_finite
    ).gradient_transformation(),
    "partition": lambda: optax.partition({"matrix": optax.adam(0.1), "rest": optax.set_to_zero()}, _SPLIT),
    "partition of int": lambda: optax.partition({1: optax.adam(0.1), 2: optax.sgd(0.1, 0.9)}, {"w": 1, "b": 2}),
    "scale_by_distance_over_gradients": optax.scale_by_distance_over_gradients,
    "scale_by_schedule": lambda: optax.scale_by_schedule(SCHEDULE),
    "selective_transform": lambda: optax.selective_transform(optax.adam(0.1), freeze_mask=_IS_MATRIX),
    "snapshot": lambda: optax.chain(optax.snapshot("norm", optax.tree.norm), optax.adam(0.1)),
    "zero_nans": lambda: optax.chain(optax.zero_nans(), optax.adam(0.1)),
    # optax.contrib
    "acprop": lambda: contrib.acprop(0.1),
    "ademamix": lambda: contrib.ademamix(0.1),
    "adopt": lambda: contrib.adopt(0.1),
    "cocob": contrib.cocob,
    "dadapt_adamw": contrib.dadapt_adamw,
    "differentially_private_aggregate": lambda: contrib.differentially_private_aggregate(1.0, 0.1, jax.random.key(0)),
    "dog": lambda: contrib.dog(1.0),
    "dowg": lambda: contrib.dowg(1.0),
    "galore": lambda: contrib.galore(0.1, rank=1),
    "madgrad": lambda: contrib.madgrad(0.1),
    "mechanize": lambda: contrib.mechanize(optax.adam(0.1)),
    "momo": contrib.momo,
    "momo_adam": contrib.momo_adam,
    "muon": lambda: contrib.muon(0.1),
    "normalize": contrib.normalize,
    "prodigy": contrib.prodigy,
    "reduce_on_plateau": lambda: optax.chain(optax.adam(0.1), contrib.reduce_on_plateau()),
    "sam": lambda: contrib.sam(optax.sgd(0.1), optax.sgd(0.05), sync_period=2),
    "schedule_free": lambda: contrib.schedule_free(optax.adam(0.1), 0.1),
    "simplified_ademamix": lambda: contrib.simplified_ademamix(0.1),
    "sophia": lambda: contrib.sophia(0.1),
    "split_real_and_imaginary": lambda: contrib.split_real_and_imaginary(optax.adam(0.1)),
}

BATCHED = {"differentially_private_aggregate"}
VALUES = {"lbfgs", "lbfgs backtracking", "polyak_sgd", "momo", "momo_adam", "reduce_on_plateau"}


@pytest.fixture(autouse=True)
def _op_by_op() -> Iterator[None]:
    """Run without jit: to compile these small steps takes longer than they do."""
    with jax.disable_jit():
        yield


def parameters(name: str) -> Any:
    """Return new parameters: optax keeps the dict itself in some states."""
    params = {"w": jnp.linspace(-1, 1, 6).reshape(2, 3), "b": jnp.ones(3)}
    if name == "split_real_and_imaginary":
        params["w"] = params["w"] + 1j
    return optax.LookaheadParams.init_synced(params) if name == "lookahead" else params


def loss(params: Any, *_: Any) -> Any:
    return sum(jnp.vdot(part, part).real for part in jax.tree.leaves(params))


def step(name: str, transform: Any, params: Any, opt: Any, number: int) -> Any:
    """Return the parameters and the state after a step."""
    inner = params.fast if name == "lookahead" else params
    grads = jax.tree.map(lambda x: jnp.sin(x * (3 + number)), inner)
    more = {"value": loss(inner)} if name in VALUES else {}
    if name.startswith("lbfgs"):
        more |= {"grad": grads, "value_fn": loss}
    if name == "sophia":
        more = {"obj_fn": loss}
    if name in BATCHED:
        grads = jax.tree.map(lambda x: jnp.stack([x, -x]), grads)
    updates, opt = transform.update(grads, opt, params, **more)
    return optax.apply_updates(params, updates), opt


def trained(name: str) -> tuple[Any, Any, Any]:
    """Return an optimiser, parameters and a state after two steps."""
    transform, params = TRANSFORMS[name](), parameters(name)
    opt = transform.init(params)
    for number in range(2):
        params, opt = step(name, transform, params, opt, number)
    return transform, params, opt


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_next_step_after_restoring_is_the_same_bit_for_bit(name: str, tmp_path: Path) -> None:
    transform, params, opt = trained(name)
    st.save(tmp_path / "t.h5", state({"params": params, "opt": opt}), durable=False)
    again, params_again = TRANSFORMS[name](), parameters(name)
    fresh = {"params": params_again, "opt": again.init(params_again)}
    structure = jax.tree.structure(fresh)

    restored = restore(fresh, st.load(tmp_path / "t.h5"))
    after = state(step(name, again, restored["params"], restored["opt"], 2))

    assert jax.tree.structure(restored) == structure
    assert jax.tree.map(jnp.result_type, restored["opt"]) == jax.tree.map(jnp.result_type, opt)
    assert difference(in_order(after), in_order(state(step(name, transform, params, opt, 2)))) is None


def test_a_state_that_grows_with_its_first_step_is_told() -> None:
    transform = optax.monitor({"norm": optax.measure_with_ema(optax.tree.norm, 0.9)})
    opt = transform.init(parameters(""))
    trained = transform.update(parameters(""), opt)[1]

    with pytest.raises(RestoreError) as refused:
        restore(opt, state(trained))
    restored, _ = restore(opt, state(trained), strict=False)

    assert str(refused.value) == (
        "expected nothing, got an array of float32 () (at /measurements/norm): "
        "leave it out with migrate=, or pass strict=False to ignore it"
    )
    assert (
        difference(state(transform.update(parameters(""), restored)), state(transform.update(parameters(""), trained)))
        is None
    )


def test_states_without_fields_are_told_apart() -> None:
    with pytest.raises(RestoreError) as refused:
        restore((optax.EmptyState(), optax.MaskedNode()), state((optax.MaskedNode(), optax.EmptyState())))

    remedy = "build the object as the saved one was, or adapt the state with rename= or migrate="
    assert str(refused.value).splitlines() == [
        f"expected a record EmptyState, got a record MaskedNode (at /#0): {remedy}",
        f"expected a record MaskedNode, got a record EmptyState (at /#1): {remedy}",
    ]


def test_parameters_that_are_one_dict_in_a_fresh_state_may_be_two_in_the_saved_one() -> None:
    params = {"w": jnp.zeros(2)}
    fresh = {"params": params, "opt": optax.TraceState(params), "again": params}
    ones, twos = {"w": np.ones(2, np.float32)}, {"w": np.full(2, 2, np.float32)}

    restored = restore(fresh, {"params": ones, "opt": Record({"trace": twos}, label="TraceState"), "again": ones})

    assert restored["params"] is restored["again"] is params
    assert difference(state(restored["params"]), ones) is None
    assert difference(state(restored["opt"].trace), twos) is None


def labels_of(node: Any) -> Iterator[str]:
    """Yield the labels of all records of a tree."""
    if isinstance(node, Record) and node.label is not None:
        yield node.label
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple | Record) else ():
        yield from labels_of(part)


def test_every_state_of_the_registry_is_met_above() -> None:
    elsewhere = {
        *("MonitorState", "LookaheadParams"),  # tested above, but not the state of a transformation after init
        "InjectHyperparamsState",  # of older versions of optax
        *("ZoomLinesearchState", "BacktrackingLineSearchState"),  # within a step only
        *("AccumulateAvgUpdatesState", "PerElementMeanAndSumSqDiffGradsState", "PerElementMeanAndVarianceEMAState"),
    }
    met = {label for name in TRANSFORMS for label in labels_of(state(TRANSFORMS[name]().init(parameters(name))))}

    assert {name for name in registry("labels")["labels"] if "." not in name} - elsewhere - met == set()

"""Restoring into objects of JAX and its libraries: structures stay, training goes on bit for bit, or all is told."""

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.core
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.dynamic_scale import DynamicScale
from flax.training.train_state import TrainState
from hypothesis import example, given
from hypothesis import strategies as hs

import statetree as st
from jax_trees import Chosen, Maker, Mutable, Numbered, Pair, Struct, in_order, pytrees, same, through_a_file
from statetree import Record, RestoreError, difference, restore, state
from test_jax_state import ONES, donated, donated_key

Array = np.ndarray[Any, Any]
BUILD = "build the object as the saved one was, or adapt the state with rename= or migrate="


# Pytrees


@given(pytrees, hs.integers(0, 2**32))
@example(lambda rng: flax.core.freeze({"a": {"b": jnp.asarray(rng.standard_normal(2))}}), 0)
def test_the_tree_structure_stays_and_every_bit_is_restored(made: Maker, seed: int) -> None:
    dst, src = made(np.random.default_rng(seed)), made(np.random.default_rng(seed + 1))
    structure, tree = jax.tree.structure(dst), state(src)

    restored = restore(dst, tree)

    assert jax.tree.structure(restored) == structure
    assert same(restored, src)


@given(pytrees)
def test_what_cannot_be_changed_is_left_as_it_was(made: Maker) -> None:
    dst = Numbered(flax.core.freeze({"in": {"in": (jnp.ones(1), made(np.random.default_rng(0)))}}))
    before = state(dst)
    held = jax.tree.leaves(dst.children[0]["in"]["in"][0])

    restored = restore(
        dst, state(Numbered(flax.core.freeze({"in": {"in": (jnp.zeros(1), before["0"]["in"]["in"][1])}})))
    )

    assert restored is not dst
    assert difference(state(dst), before) is None
    assert difference(state(held), [np.ones(1, np.float32)]) is None


def spoilt(tree: Any, draw: Callable[[Any], Any]) -> Any:
    """Return a tree with one part removed, or replaced by what fits nowhere."""
    items = list(tree.items() if isinstance(tree, dict | Record) else enumerate(tree) if type(tree) in KINDS else ())
    if not items or draw(hs.booleans()):
        return draw(hs.sampled_from([np.full(7, 1.5), Record(label="EmptyState")]))
    at = draw(hs.integers(0, len(items) - 1))
    # What has no state may be missing.
    if type(items[at][1]) is tuple or draw(hs.booleans()):
        items[at] = items[at][0], spoilt(items[at][1], draw)
    else:
        del items[at]
    if isinstance(tree, Record):
        return Record(items, label=tree.label)
    return dict(items) if isinstance(tree, dict) else type(tree)(part for _, part in items)


KINDS = (list, tuple)


@given(pytrees, hs.data())
def test_what_does_not_fit_changes_nothing_and_what_fits_keeps_the_structure(made: Maker, data: hs.DataObject) -> None:
    dst, src = [made(np.random.default_rng(0))], [made(np.random.default_rng(1))]
    before, structure = state(dst), jax.tree.structure(dst)
    tree = spoilt(state(src), data.draw)
    if difference(tree, state(src)) is None:
        return

    with pytest.raises(RestoreError) as refused:
        restore(dst, tree)
    after = state(dst)
    restored, problems = restore(dst, tree, strict=False)

    assert difference(after, before) is None
    assert problems == refused.value.problems
    assert jax.tree.structure(restored) == structure
    assert difference(in_order(state(restore(restored, before))), in_order(before)) is None


def test_nothing_new_is_made_where_nothing_changes() -> None:
    dst = (optax.EmptyState(), Pair((), {}), flax.core.freeze({"a": ()}), Numbered(), Struct(None, 0.5))

    assert restore(dst, state(dst)) is dst


def test_one_array_on_both_sides_stays_one() -> None:
    shared, other = jnp.zeros(2), jnp.zeros(2)

    restored = restore((shared, shared, other), (ONES, ONES, ONES))

    assert restored[0] is restored[1]
    assert restored[2] is not restored[0]


def test_what_starts_as_one_array_may_end_as_two() -> None:
    shared = jnp.zeros(2)  # as in schedule_free, where z begins as the parameters themselves

    restored = restore((shared, shared), (ONES, ONES * 2))

    assert difference(state(restored), (ONES, ONES * 2)) is None


def test_restored_arrays_do_not_share_memory_with_the_tree() -> None:
    buffer = np.zeros(1 << 13, np.uint8)
    start = -buffer.ctypes.data % 64  # where JAX would take the memory of NumPy for its own
    array = buffer[start : start + 4096].view(np.float32)
    read_only = np.zeros(1024, np.float32)
    read_only.flags.writeable = False

    restored = restore((jnp.zeros(1024), read_only), (array, array))
    array[:] = 7

    assert difference(state(restored), (np.zeros(1024, np.float32), np.zeros(1024, np.float32))) is None


def test_an_array_stays_weakly_typed_and_uncommitted() -> None:
    weak, strong = jnp.asarray(1.5), jnp.float32(1.5)
    there = jax.device_put(jnp.float32(1), jax.devices()[0])
    bits = np.array(0x7F800001, np.uint32).view(np.float32)

    restored = restore((weak, strong, there, jnp.asarray(1)), (bits, bits, bits, np.int32(5)[...]))

    assert [array.weak_type for array in restored] == [True, False, False, True]
    assert [array.committed for array in restored] == [False, False, True, False]
    assert difference(state(restored[:1]), (bits,)) is None


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg", "unsafe_rbg"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_typed_keys_go_on_where_they_were(impl: str, shape: tuple[int, ...]) -> None:
    key = jax.random.split(jax.random.key(7, impl=impl), shape)
    fresh = jax.random.split(jax.random.key(0, impl=impl), shape)

    restored = restore({"key": fresh}, through_a_file(state({"key": key})))["key"]

    assert (restored.dtype, restored.shape, restored.committed) == (key.dtype, shape, False)
    assert same(jax.random.key_data(restored), jax.random.key_data(key))


@pytest.mark.parametrize(
    "made",
    [
        donated,
        lambda: jax.ShapeDtypeStruct((2,), jnp.float32),
        lambda: jax.eval_shape(lambda: jnp.ones(2)),
        lambda: jax.new_ref(jnp.zeros(2)),
        lambda: nnx.Param(jnp.zeros(2)),
    ],
)
def test_what_has_a_shape_takes_an_array(made: Callable[[], Any]) -> None:
    assert difference(state(restore([made()], [ONES])), [ONES]) is None


@pytest.mark.parametrize("made", [donated_key, lambda: jax.eval_shape(lambda: jax.random.key(0))])
def test_what_has_the_shape_of_a_key_takes_a_key(made: Callable[[], Any]) -> None:
    key = jax.random.key(3)

    assert same(restore([made()], state([key])), [key])


def test_shapes_alone_are_filled() -> None:
    def build() -> Any:
        return {"params": {"w": jnp.ones((2, 3), jnp.bfloat16)}, "opt": optax.adam(0.1).init(jnp.ones(2)), "lr": 0.5}

    restored = restore(jax.eval_shape(build), state(jax.tree.map(lambda x: x + 1, build() | {"lr": jnp.asarray(0.5)})))

    assert same(restored, jax.tree.map(lambda x: x + 1, build() | {"lr": jnp.asarray(0.5)}))
    assert restored["lr"].weak_type


def test_references_take_values_in_place() -> None:
    reference, keys = jax.new_ref(jnp.zeros(2)), jax.new_ref(jax.random.key(0))
    src = {"a": jax.new_ref(jnp.ones(2)), "k": jax.new_ref(jax.random.key(5))}

    restored = restore({"a": reference, "k": keys}, state(src))

    assert (restored["a"], restored["k"]) == (reference, keys)
    assert same([reference, keys], [src["a"], src["k"]])


# Numbers that jit makes arrays of


@pytest.mark.parametrize(
    ("number", "array", "weak"),
    [
        (0, np.array(7, np.int32), True),
        (0.5, np.array(0.25, np.float32), True),
        (1j, np.array(2j, np.complex64), True),
        (False, np.array(True), False),
        (0, np.array(7, np.uint8), False),
        (0.5, np.array(0.25, jnp.bfloat16), False),
        (np.float32(0.5), np.array(0.25, np.float32), False),
        (np.int8(1), np.array(2, np.int8), False),
    ],
)
def test_a_number_of_a_pytree_takes_the_array_that_jit_made_of_it(number: Any, array: Array, weak: bool) -> None:
    for dst in (Numbered(number), Mutable(number), Chosen(number), flax.core.freeze({"0": number})):
        tree = state(dst)
        (name,) = (key for key in (tree if isinstance(tree, dict) else tree.names) if key in ("0", "weight"))
        values = {key: array if key == name else part for key, part in tree.items()}

        restored = restore(dst, values if isinstance(tree, dict) else Record(values, label=tree.label))

        (leaf,) = jax.tree.leaves(restored)
        assert difference(state(leaf), array) is None
        assert leaf.weak_type is weak
    assert difference(state(restore(nnx.Variable(number), array)), array) is None


_ARRAY = "put an array there, or convert it with migrate="


@pytest.mark.parametrize(
    ("dst", "value", "text"),
    [
        (0, np.array(1.0, np.float32), f"int, as in 0, got an array of float32 () (at /0): {_ARRAY}"),
        (0, np.array(True), f"int, as in 0, got an array of bool () (at /0): {_ARRAY}"),
        (0.5, np.array(1), f"float, as in 0.5, got an array of int64 () (at /0): {_ARRAY}"),
        (False, np.array(1, np.int32), f"bool, as in False, got an array of int32 () (at /0): {_ARRAY}"),
        (np.int8(0), np.array(1, np.int16), f"scalar, as in np.int8(0), got an array of int16 () (at /0): {_ARRAY}"),
        ([0], [np.array(1, np.int32)], f"int, as in 0, got an array of int32 () (at /0/#0): {_ARRAY}"),
        (0, 0.5, "int, as in 0, got float 0.5 (at /0): convert it with migrate="),
        (jnp.asarray(0), 0.5, f"an array of int32 (), got float 0.5 (at /0): {BUILD}"),
        (jnp.int32(0), 0, f"an array of int32 (), got int 0 (at /0): {BUILD}"),
    ],
)
def test_numbers_and_arrays_of_other_kinds_do_not_stand_for_each_other(dst: Any, value: Any, text: str) -> None:
    with pytest.raises(RestoreError) as refused:
        restore(Numbered(dst), Record({"0": value}, label="Numbered"))

    assert str(refused.value) == f"expected {text}"


@pytest.mark.parametrize("made", [lambda: jnp.asarray(5), lambda: jax.eval_shape(lambda: 5)])
def test_a_weakly_typed_array_takes_the_number_that_jit_would_make_it_of(made: Callable[[], Any]) -> None:
    assert difference(state(restore([made()], [7])), [7]) is None


def test_the_step_of_a_fresh_train_state_takes_that_of_a_trained_one() -> None:
    tx = optax.adamw(optax.cosine_decay_schedule(0.1, 10))

    def build(seed: int) -> Any:
        params = {"w": jax.random.normal(jax.random.key(seed), (3,))}
        return TrainState.create(apply_fn=len, params=params, tx=tx).replace(), DynamicScale()

    @jax.jit
    def step(train: Any, scale: Any) -> Any:
        scale, _, _, grads = scale.value_and_grad(lambda params: (params["w"] ** 2).sum())(train.params)
        return train.apply_gradients(grads=grads), scale

    trained = step(*build(0))
    restored = restore(build(1), through_a_file(state(trained)))

    assert type(build(0)[0].step) is int
    assert jax.tree.map(jnp.result_type, restored) == jax.tree.map(jnp.result_type, trained)
    assert same(step(*restored), step(*trained))


# What does not fit


def test_every_difference_is_told_at_once() -> None:
    dst = Numbered(
        jnp.ones(2),
        jnp.ones(2),
        jax.random.key(0),
        optax.EmptyState(),
        jnp.ones(2),
        jax.random.PRNGKey(0),
        nnx.Param(jnp.ones(2)),
        0,
        optax.MaskedNode(),
    )
    key = state(jax.random.key(0, impl="rbg"))
    values = [np.ones(3, "f4"), np.ones(2, "f8"), key, state(optax.MaskedNode()), 1.0, key, None, np.ones(2, "i4"), ()]
    before = state(dst)

    with pytest.raises(RestoreError) as refused:
        restore(dst, Record([(str(number), value) for number, value in enumerate(values)], label="Numbered"))

    x64 = "call jax.config.update('jax_enable_x64', True) before building it, or pass cast=True"
    assert str(refused.value).splitlines() == [
        f"expected shape (2,), got (3,) (at /0): {BUILD}",
        f"expected float32, got float64 (at /1): {x64}",
        "expected 'threefry2x32', got str 'rbg' (at /2/impl): build it with the same one",
        f"expected shape (2,), got (4,) (at /2/data): {BUILD}",
        f"expected a record EmptyState, got a record MaskedNode (at /3): {BUILD}",
        f"expected an array of float32 (2,), got float 1.0 (at /4): {BUILD}",
        f"expected an array of uint32 (2,), got a record jax.random.key (at /5): {BUILD}",
        f"expected an array of float32 (2,), got null None (at /6): {BUILD}",
        f"expected shape (), got (2,) (at /7): {BUILD}",
        f"expected a record MaskedNode, got an empty tuple (at /8): {BUILD}",
    ]
    assert difference(state(dst), before) is None


def test_a_value_for_a_setting_and_an_array_for_a_name_are_told() -> None:
    leave = "leave it out with migrate=, or pass strict=False to ignore it"
    key = Record({"impl": np.ones(3), "data": np.zeros(2, np.uint32)}, label="jax.random.key")
    tree = [Record({"weight": ONES, "size": np.ones(3)}, label="Chosen"), key]

    with pytest.raises(RestoreError) as refused:
        restore([Chosen(jnp.ones(2)), jax.random.key(0)], tree)

    assert str(refused.value).splitlines() == [
        f"expected (), as it is a setting here, got an array of float64 (3,) (at /#0/size): {leave}",
        "expected 'threefry2x32', got an array of float64 (3,) (at /#1/impl): build it with the same one",
    ]


def test_without_strict_what_fits_is_restored() -> None:
    dst = Numbered(jnp.zeros(2), jax.random.key(0), 3, jnp.zeros(2), jax.random.key(1))
    wrong = Record({"impl": "rbg", "data": np.zeros(4, np.uint32)}, label="jax.random.key")
    missing = Record({"impl": "threefry2x32"}, label="jax.random.key")
    tree = Record({"0": ONES, "1": wrong, "2": np.ones(2, "i4"), "4": missing, "5": 1}, label="Numbered")

    restored, problems = restore(dst, tree, strict=False)

    expected = Numbered(jnp.ones(2), jax.random.key(0), 3, jnp.zeros(2), jax.random.key(1))
    assert same(restored, expected)
    assert [problem.path for problem in problems] == [
        ("1", "impl"),
        ("1", "data"),
        ("2",),
        ("3",),
        ("4", "data"),
        ("5",),
    ]


def test_wide_arrays_are_refused_without_x64_and_never_truncated() -> None:
    wide = np.array([1 << 40], np.int64)
    with jax.enable_x64(True):
        there, template = jnp.asarray(wide), jax.ShapeDtypeStruct((1,), jnp.int64)
        assert difference(state(restore([there, template], [wide, wide])), [wide, np.copy(wide)]) is None

    for dst in (there, template):
        with pytest.raises(RestoreError) as refused:
            restore({"w": dst}, {"w": wide}, cast=True)

        assert str(refused.value) == (
            "expected a dtype that can be held now, got int64 (at /w): "
            "call jax.config.update('jax_enable_x64', True) before building it"
        )
    assert difference(state(there), wide) is None


def test_cast_narrows_where_no_value_is_lost() -> None:
    restored = restore(Pair(jnp.zeros(2), jnp.zeros(2, jnp.bfloat16)), Pair(np.ones(2), np.ones(2)), cast=True)

    assert difference(state(restored), Pair(ONES, ONES.astype(jnp.bfloat16))) is None


@pytest.mark.parametrize("made", [lambda x: {"a": x}, lambda x: [nnx.Param(x)], lambda x: {"a": np.array(x)}])
def test_a_damaged_block_of_an_open_file_changes_nothing(made: Callable[[Any], Any], tmp_path: Path) -> None:
    dst, path = {"first": made(jnp.zeros(3)), "last": made(jnp.zeros(1 << 18))}, tmp_path / "t.bson"
    before = state(dst)
    st.save(path, state(jax.tree.map(lambda x: x + 1, dst)), durable=False, compression=None)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with st.open(path) as file, pytest.raises(st.IntegrityError):
        restore(dst, file.tree)

    assert difference(state(dst), before) is None


# Several devices


def run(text: str, *arguments: str, devices: int = 4) -> "subprocess.Popen[str]":
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", textwrap.dedent(text), *arguments]
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def test_arrays_on_several_devices_stay_where_they_are(tmp_path: Path) -> None:
    done = run(
        """
        import sys
        import jax, jax.numpy as jnp, numpy as np, optax, statetree as st
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

        mesh = Mesh(np.array(jax.devices()), ("x",))
        rows, whole = NamedSharding(mesh, P("x")), NamedSharding(mesh, P())
        def build(seed):
            params = {
                "w": jax.device_put(jnp.arange(8.0) + seed, rows),
                "b": jax.device_put(jnp.ones(3) * seed, whole),
                "one": jax.device_put(jnp.ones(2) * seed, jax.devices()[2]),
                "key": jax.device_put(jax.random.split(jax.random.key(seed), 4), rows),
            }
            return params, optax.adam(0.1).init(params["w"])
        saved, fresh = build(1), build(2)
        st.save(sys.argv[1], st.state(saved))
        restored = st.restore(fresh, st.load(sys.argv[1]))
        assert st.difference(st.state(restored), st.state(saved)) is None
        for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(saved), strict=True):
            assert (a.sharding, a.committed) == (b.sharding, b.committed)
        jax.jit(optax.adam(0.1).update)(restored[0]["w"], restored[1])
        template = jax.ShapeDtypeStruct((8,), jnp.float32, sharding=rows)
        assert st.restore(template, np.ones(8, np.float32)).sharding == rows
        print("held")
        """,
        str(tmp_path / "t.h5"),
    )

    assert done.communicate() == ("held\n", "")


def test_what_other_processes_hold_is_refused_and_can_be_restored() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    text = """
        import sys
        import jax, numpy as np, statetree as st

        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(f"localhost:{sys.argv[1]}", 2, int(sys.argv[2]))
        from jax.experimental.multihost_utils import process_allgather
        from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

        mesh = Mesh(np.array(jax.devices()), ("x",))
        zeros = jax.device_put(np.zeros(4, np.float32), NamedSharding(mesh, P("x")))
        whole = jax.device_put(np.zeros(2, np.float32), NamedSharding(mesh, P()))
        ones = np.arange(4, dtype=np.float32)
        restored = st.restore({"w": zeros, "b": whole}, {"w": ones, "b": ones[:2]})
        assert restored["w"].sharding == zeros.sharding
        assert st.difference(st.state({"b": restored["b"]}), {"b": ones[:2]}) is None
        assert st.difference(process_allgather(restored["w"], tiled=True), ones) is None
        try:
            st.state(restored)
        except st.WriteError as error:
            print(error)
        """

    both = [run(text, port, number, devices=1) for number in "01"]
    told = [process.communicate()[0].splitlines()[-1:] for process in both]

    assert told == 2 * [
        [
            "expected an array on the devices of this process, got an array that is sharded over other processes "
            "(at /w): gather it first with jax.experimental.multihost_utils.process_allgather(x, tiled=True)"
        ]
    ]

"""The pytest plug-in: a backend runs the laws from its own repository in five lines. Source: docs/conformance.md.

    import pytest

    @pytest.mark.statetree("npz")
    def test_npz(statetree_law):
        statetree_law()

It is loaded by every pytest in whose environment statetree is, and so imports nothing of it before a test asks for it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from statetree_conformance.trial import Trial

__all__: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    text = (
        "statetree(*containers, **reach): hold backends against the laws; reach is that of statetree_conformance.trial"
    )
    config.addinivalue_line("markers", text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make a test for each law and each container of the mark."""
    mark = metafunc.definition.get_closest_marker("statetree")
    if mark is None or "statetree_law" not in metafunc.fixturenames:
        return
    from statetree_conformance.laws import LAWS

    chosen = [(name, law) for name in mark.args for law in LAWS]
    ids = [f"{law.name}-{name}" for name, law in chosen]
    metafunc.parametrize("statetree_law", chosen, ids=ids, indirect=True)


@pytest.fixture
def statetree_law(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], "Trial"]:
    """A law and a container, ready to be tried: call it."""
    from statetree_conformance.containers import Bench, ours
    from statetree_conformance.trial import Reach

    name, law = request.param
    mark = request.node.get_closest_marker("statetree")
    reach = Reach(**{"others": ours(), **mark.kwargs})

    def hold() -> "Trial":
        trial: Trial = law.hold(Bench(name, tmp_path), reach=reach)
        if trial.skipped is not None:
            pytest.skip(trial.skipped)
        return trial

    return hold

"""How tests are run: the number of examples of property tests, and names of cases that stay the same from run to run.

Profile `ci` draws the same examples each time, `long` draws fresh ones, 20 times as many.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = 200
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile(
    "ci", derandomize=True, max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=_QUIET
)
settings.register_profile("long", max_examples=20 * EXAMPLES, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("STATETREE_PROFILE", "ci"))


collect_ignore = ["third_party_npz"]


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Name a case of bytes after its parameter: a gzip member holds the time, and workers compare names of cases."""
    return argname if isinstance(val, bytes) else None

"""Profiles of the property tests: `ci` draws the same examples each time, `long` draws fresh ones, 20 times as many."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = 200
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]

settings.register_profile(
    "ci", derandomize=True, max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=_QUIET
)
settings.register_profile("long", max_examples=20 * EXAMPLES, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("STATETREE_PROFILE", "ci"))

"""How hard the property tests look."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# What a test draws is cheap beside what it runs; a busy machine is no reason to fail.
PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large]
# The same examples on every run, so that a change that passed does not fail for another reason.
settings.register_profile(
    "ci", max_examples=50, derandomize=True, deadline=None, database=None, suppress_health_check=PATIENT
)
# New ones on every run; what fails is printed with how to run it again.
settings.register_profile("long", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=PATIENT)
settings.load_profile(os.environ.get("STPL_HYPOTHESIS", "ci"))

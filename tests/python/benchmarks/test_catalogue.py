"""The tables' rows: settings that exist, and each rival at its own rate."""

from __future__ import annotations

import pytest
from catalogue import BEST_RATES, GROUPS, RIVAL_RATES, TABLES

from stpl.train.config import AdaptConfig


@pytest.mark.parametrize("name", TABLES)
def test_every_row_has_settings_that_the_package_knows(name):
    table = TABLES[name]
    for row in table.rows:
        config = table.run(table.domains[0], row, 0).config  # raises UserError for what it does not know
        assert config.seed == 0


@pytest.mark.parametrize("name", ["rivals", "development-rivals"])
def test_rivals_train_at_their_best_rates(name):
    table = TABLES[name]
    rows = {row.name: table.run(table.domains[0], row, 0).config for row in table.rows if not row.oracle}
    default = AdaptConfig().learning_rate
    for method, config in rows.items():
        assert config.learning_rate == BEST_RATES.get(method, default)
    assert all(rate in RIVAL_RATES[method] for method, rate in BEST_RATES.items())
    assert rows["self-training"].learning_rate == rows["stpl"].learning_rate == default


def test_the_guards_thresholds_are_varied_one_at_a_time_at_two_rates():
    table = TABLES["guard-thresholds"]
    assert "guard-thresholds" in GROUPS["settings"] and table.seeds == (0,)
    assert {domain.name for domain in table.domains} == {"dusk", "night"}
    configs = [table.run(table.domains[0], row, 0).config for row in table.rows]
    assert all(config.guard.mode == "act" for config in configs)
    default = AdaptConfig()
    for rate in (default.learning_rate, 10 * default.learning_rate):
        guards = [c.guard for c in configs if c.method == "stpl" and c.learning_rate == pytest.approx(rate)]
        assert [(guard.pace, guard.trust) for guard in guards] == [
            (default.guard.pace, default.guard.trust), (0.9, 0.8), (1.1, 0.8), (1.0, 0.7), (1.0, 0.9),
        ]  # fmt: skip

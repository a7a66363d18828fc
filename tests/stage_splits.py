"""Stage's splits for the tests, each generated once a run, and what the full ones were measured to hold."""

from functools import lru_cache

from vmrlib.data.stage import StageConfig, StageSplit, make_split

CONFIGS = {"open": StageConfig.open(), "kitchen": StageConfig.kitchen()}


@lru_cache(maxsize=64)
def split(profile: str, name: str, n: int | None = None) -> StageSplit:
    """The first `n` videos (all by default) of a split with default knobs."""
    return make_split(name, CONFIGS[profile], n)


if __name__ == "__main__":  # prints the rows of MEASURED in test_stage_splits.py; takes some minutes
    for profile, config in CONFIGS.items():
        for name in config.sizes:
            whole, first = make_split(name, config), make_split(name, config, 4)
            print(
                f'    ("{profile}", "{name}", {len(whole.queries)}, "{whole.hash}", "{first.hash}"),',
                flush=True,
            )

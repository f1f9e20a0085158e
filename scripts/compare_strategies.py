#!/usr/bin/env python3
"""NetAdapt against one uniform width multiplier, at equal measured latency.

    python scripts/compare_strategies.py [--data digits] [--budgets 70% 50% 35%] [--seeds 2]

Writes results/compare_strategies.csv, a row per run. Both arms start from the same trained weights,
share the long fine-tune, and are scored on test images that no choice saw.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from provenance import write_csv

from netadapt.adapt import Result, adapt
from netadapt.cli.console import Console
from netadapt.config import RunConfig
from netadapt.search.schedule import Schedule
from netadapt.train import train
from netadapt.units import parse_budget

RESULTS = Path(__file__).resolve().parent.parent / "results"


def run_arm(
    strategy: str, budget: str, seed: int, *, model: str, data: str, weights: Path, folder: Path
) -> Result:
    """One run of one strategy at one budget, from given weights."""
    config = RunConfig(
        model=model,
        data=data,
        budgets=(parse_budget(budget),),
        weights=str(weights),
        strategy=strategy,
        # A uniform multiplier is one decision: its first step aims at the budget itself.
        schedule=Schedule(1.0) if strategy == "uniform" else Schedule(),
        seed=seed,
    )
    with Console() as console:
        return adapt(config, folder / f"{strategy}-{budget}-{seed}", notify=console)


def figures(result: Result) -> dict[str, object]:
    """What a run came to."""
    before, after = result.finished.before, result.finished.after
    old_s, new_s = before.costs["latency"], after.costs["latency"]
    return {
        "latency_before_ms": f"{old_s * 1e3:.4f}",
        "latency_after_ms": f"{new_s * 1e3:.4f}",
        "latency_ratio": f"{new_s / old_s:.4f}",
        "accuracy_before": f"{before.accuracy:.4f}",
        "accuracy_after": f"{after.accuracy:.4f}",
        "macs_after": after.macs,
        "params_after": after.params,
    }


def main() -> None:
    """Run every arm and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="mobilenet_v1")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--budgets", nargs="+", default=["70%", "50%", "35%"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "compare_strategies.csv")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(args.seeds):
            weights = folder / f"weights-{seed}.safetensors"
            train(RunConfig(args.model, args.data, budgets=(), seed=seed), weights)
            for budget in args.budgets:
                for strategy in ("one_group", "uniform"):
                    result = run_arm(strategy, budget, seed, model=args.model, data=args.data,
                                     weights=weights, folder=folder)  # fmt: skip
                    arm = {"strategy": strategy, "budget": budget, "seed": seed}
                    rows.append({**arm, **figures(result)})
    write_csv(args.out, rows, sys.argv)


if __name__ == "__main__":
    main()

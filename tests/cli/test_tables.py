"""The table at the end of a run."""

from __future__ import annotations

import io

from rich.console import Console

from fuxictr_qnn.cli.tables import results_table


def record(expid: str, seed: int, auc: float, test: bool = True) -> dict:
    scores = {"valid": {"AUC": auc + 0.01, "logloss": 0.4}, "test": {"AUC": auc, "logloss": 0.5}}
    if not test:
        del scores["test"]
    return {"expid": expid, "seed": seed, "best_epoch": 3, "epochs": 5, "seconds": {"train": 2.0}, **scores}


def printed(*arguments, **options) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=200)
    console.print(results_table(*arguments, **options))
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_a_row_a_run_and_the_best_possible():
    lines = printed([record("LR", 1, 0.7), record("QNN", 1, 0.8)], best={"AUC": 0.85, "logloss": 0.3})
    assert lines[2][:6] == ["LR", "1", "0.71000", "0.40000", "0.70000", "0.50000"]
    assert lines[-1] == ["best", "possible", "0.85000", "0.30000"]


def test_mean_and_standard_deviation_of_several_seeds():
    lines = printed([record("LR", 1, 0.7), record("LR", 2, 0.8), record("QNN", 1, 0.8)])
    assert lines[4] == (
        "LR mean ± sd 0.76000 ± 0.07071 0.40000 ± 0.00000 0.75000 ± 0.07071 0.50000 ± 0.00000".split()
    )
    assert [line[0] for line in lines[2:]] == ["LR", "LR", "LR", "QNN"]


def test_data_without_a_test_split():
    assert printed([record("LR", 1, 0.7, test=False)])[2][:4] == ["LR", "1", "0.71000", "0.40000"]

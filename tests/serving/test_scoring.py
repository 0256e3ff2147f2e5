"""`load_run`: tables of every kind in, the run's own predictions out."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import fuxictr_qnn
from fuxictr_qnn import load_run
from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.runs.saved import open_run
from fuxictr_qnn.serving.predicting import _types_of
from fuxictr_qnn.serving.scoring import RunScorer
from fuxictr_qnn.training.calibration import corrected
from tests.serving.made_clicks import clicks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scorer(trained: Path) -> RunScorer:
    return load_run(trained)


@pytest.fixture(scope="module")
def wanted(trained: Path) -> np.ndarray:
    """What the run itself predicted for its test rows."""
    return pl.read_parquet(trained / "test_scores.parquet")["y_pred"].to_numpy()


FRAME = clicks(250, 2)  # the test rows


class TestTables:
    @pytest.mark.parametrize(
        "table",
        [
            pytest.param(FRAME, id="polars"),
            pytest.param(FRAME.lazy(), id="lazy polars"),
            pytest.param(FRAME.to_arrow(), id="arrow table"),
            pytest.param(FRAME.to_arrow().to_batches()[0], id="arrow batch"),
            pytest.param(FRAME.to_dict(as_series=False), id="dict of lists"),
            pytest.param(FRAME.select(FRAME.columns[::-1]), id="other order"),
            pytest.param(FRAME.with_columns(more=pl.lit("x")).drop("label", "shopper"), id="extra and fewer"),
        ],
    )
    def test_every_kind(self, table, scorer: RunScorer, wanted: np.ndarray):
        found = scorer.predict(table)
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, wanted)

    def test_pandas(self, scorer: RunScorer, wanted: np.ndarray):
        pandas = pytest.importorskip("pandas")
        frame = pandas.DataFrame(FRAME.to_dict(as_series=False))
        assert frame["item"].dtype == float  # some are missing
        np.testing.assert_array_equal(scorer.predict(frame), wanted)
        np.testing.assert_array_equal(scorer.predict(frame[::-1]), wanted[::-1])
        frame["user"] = frame["user"].astype("category")
        np.testing.assert_array_equal(scorer.predict(frame), wanted)

    def test_one_row(self, scorer: RunScorer, wanted: np.ndarray):
        np.testing.assert_allclose(scorer.predict(FRAME.row(7, named=True)), wanted[7:8], rtol=1e-6)

    def test_whole_numbers_among_others(self, scorer: RunScorer):
        columns = FRAME[:3].to_dict(as_series=False)
        found = scorer.predict(columns | {"price": [1, 2.5, None], "city": (1, 2.0, 3)})
        np.testing.assert_array_equal(
            found, scorer.predict(columns | {"price": [1.0, 2.5, None], "city": [1.0, 2.0, 3.0]})
        )

    def test_one_value_for_all_rows(self, scorer: RunScorer):
        columns = {name: values[:3] for name, values in FRAME.to_dict(as_series=False).items()}
        same = scorer.predict(columns | {"user": "u1"})
        np.testing.assert_array_equal(same, scorer.predict(columns | {"user": ["u1"] * 3}))

    def test_no_row(self, scorer: RunScorer):
        assert (
            scorer.predict(FRAME[:0]).shape
            == scorer.predict({name: [] for name in FRAME.columns}).shape
            == (0,)
        )

    @pytest.mark.parametrize(
        "table", [3, None, [1, 2], {"user": ["a", "b"], "item": [1]}, {"user": [object()]}]
    )
    def test_what_is_no_table(self, table, scorer: RunScorer):
        with pytest.raises(RequestError):
            scorer.predict(table)


class TestScorer:
    def test_threads_may_share_one(self, scorer: RunScorer, wanted: np.ndarray):
        with ThreadPoolExecutor(8) as pool:
            for found in pool.map(lambda _: scorer.predict(FRAME), range(24)):
                np.testing.assert_array_equal(found, wanted)

    def test_what_it_knows_of_itself(self, scorer: RunScorer):
        assert scorer.features[:2] == ["user", "item"] and "shopper" not in scorer.features
        assert 0 < scorer.metrics["test"]["AUC"] < 1

    def test_the_global_random_state_stays(self, trained: Path):
        import torch

        torch.manual_seed(3)
        wanted = torch.rand(1)
        torch.manual_seed(3)
        load_run(trained)
        assert torch.rand(1) == wanted

    def test_an_expid_is_its_newest_run(self, trained: Path, scorer: RunScorer):
        out = trained.parents[1]
        assert load_run("DNN_clicks", out=out).run.folder == trained

    def test_importing_the_package_stays_cheap(self):
        code = "import sys, fuxictr_qnn; print([name for name in ('torch', 'polars') if name in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]" and "load_run" in fuxictr_qnn.__all__


class TestCorrection:
    def test_predictions_are_corrected(self, trained: Path, wanted: np.ndarray):
        run = open_run(trained)
        dataset = run.dataset.model_copy(update={"negative_sampling_rate": 0.2})
        thinned = replace(run, experiment=run.experiment.model_copy(update={"dataset": dataset}))
        np.testing.assert_array_equal(RunScorer(thinned).predict(FRAME), corrected(wanted, 0.2))
        assert dataset.negative_sampling_rate and thinned.experiment.digest != run.experiment.digest

    def test_the_odds_shrink_by_the_rate(self):
        p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
        found = corrected(p, 0.25)
        np.testing.assert_allclose(found[1:-1] / (1 - found[1:-1]), p[1:-1] / (1 - p[1:-1]) * 0.25)
        assert found[0] == 0 and found[-1] == 1
        assert corrected(p, None) is p

    def test_it_restores_the_click_rate(self):
        """A model that is right about sampled data is right about all data once corrected."""
        rng = np.random.default_rng(1)
        true, rate = rng.uniform(0.01, 0.2, 200_000), 0.1
        clicked = rng.random(len(true)) < true
        kept = clicked | (rng.random(len(true)) < rate)
        of_sample = true / (true + (1 - true) * rate)
        assert abs(of_sample[kept].mean() - clicked[kept].mean()) < 5e-3
        np.testing.assert_allclose(corrected(of_sample, rate), true)


def test_arrow_knows_no_names_twice():
    with pytest.raises(RequestError, match="cannot be read as a table"):
        from fuxictr_qnn.serving.tables import as_frame

        as_frame(pa.table([[1], [2]], names=["a", "a"]))


def test_runs_that_read_a_column_differently_are_refused():
    def scorer(name: str, **types: pl.DataType) -> SimpleNamespace:
        return SimpleNamespace(run=SimpleNamespace(name=name), encoder=SimpleNamespace(types=types))

    whole = scorer("A", user=pl.Int64(), item=pl.String())
    assert _types_of([whole, scorer("B", user=pl.Int32(), day=pl.Date())]) == {
        "user": pl.Int64(),
        "item": pl.String(),
        "day": pl.Date(),
    }
    with pytest.raises(
        RequestError, match="--run: B reads column 'user' as text, another run as whole numbers"
    ):
        _types_of([whole, scorer("B", user=pl.String())])

"""`fuxictr predict`: a file of rows in, a file of scores out, and nothing else changed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import polars as pl
import pytest

from fuxictr_qnn.cli import main
from fuxictr_qnn.serving import files, submission
from fuxictr_qnn.serving.submission import Submission


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of LR and of QNNalpha each on the shop."""
    from tests.cli import conftest

    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        conftest.shop.__wrapped__(root, patch)
        for expid in ("LR_shop", "QNN_shop"):
            assert main(["run", "--config", "config", "--gpu", "-1", "--expid", expid]) == 0
    return root


@pytest.fixture
def shop(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with both runs and the test rows, numbered; the working directory."""
    shutil.copytree(trained / "runs", tmp_path / "runs")
    rows = pl.read_csv(trained / "data" / "shop" / "test.csv")
    rows.insert_column(0, pl.Series("row", [f"{row:03d}" for row in range(len(rows))])).write_csv(
        tmp_path / "rows.csv"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(
    *arguments: object, run: tuple[str, ...] = ("QNN_shop",), data="rows.csv", to="scores.csv"
) -> int:
    words = ["predict", "--gpu", "-1", "--run", *run, "--data", data, "--to", to, *arguments]
    return main([str(word) for word in words])


def own_scores(shop: Path, expid: str = "QNN_shop") -> np.ndarray:
    """What the run predicted for its test rows."""
    (file,) = shop.glob(f"runs/{expid}-*/seed7/test_scores.parquet")
    return pl.read_parquet(file)["y_pred"].to_numpy()


def metrics(shop: Path, expid: str = "QNN_shop") -> dict[str, float]:
    (file,) = shop.glob(f"runs/{expid}-*/seed7/metrics.json")
    return json.loads(file.read_text())["test"]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


class TestScores:
    @pytest.mark.parametrize("to", ["scores.csv", "scores.parquet", "new/folder/scores.csv"])
    def test_beside_the_ids_in_the_order_of_the_file(self, to: str, shop: Path, capsys):
        assert predict("--id-cols", "row", "user", to=to) == 0
        found = pl.read_csv(to, infer_schema=False) if to.endswith("csv") else pl.read_parquet(to)
        assert found.columns == ["row", "user", "y_pred"]
        assert found["row"].to_list() == [f"{row:03d}" for row in range(200)]  # text stays as it is written
        np.testing.assert_allclose(found["y_pred"].cast(pl.Float64).to_numpy(), own_scores(shop), rtol=1e-6)
        output = capsys.readouterr().out
        values = metrics(shop)
        assert f"AUC {values['AUC']:.6f}  logloss {values['logloss']:.6f}" in output
        assert "200 rows scored by QNN_shop (seed 7)" in output and f"wrote {to}" in output
        assert not list(shop.rglob(".*"))

    def test_labels_and_other_columns_are_not_needed(self, shop: Path, capsys):
        rows = pl.read_csv("rows.csv").select(pl.lit("x").alias("noise"), "item", "user")
        rows.write_parquet("rows.parquet")
        assert predict(data="rows.parquet") == 0
        found = pl.read_csv("scores.csv")
        assert found.columns == ["y_pred"]
        np.testing.assert_allclose(found["y_pred"].to_numpy(), own_scores(shop), rtol=1e-6)
        assert "AUC" not in capsys.readouterr().out

    def test_tabs(self, shop: Path):
        pl.read_csv("rows.csv").write_csv("rows.tsv", separator="\t")
        assert predict(data="rows.tsv") == 0
        np.testing.assert_allclose(
            pl.read_csv("scores.csv")["y_pred"].to_numpy(), own_scores(shop), rtol=1e-6
        )

    def test_in_small_blocks(self, shop: Path, monkeypatch):
        monkeypatch.setattr(files, "SHARE", 1e-5)
        assert predict("--id-cols", "row") == 0
        np.testing.assert_allclose(
            pl.read_csv("scores.csv")["y_pred"].to_numpy(), own_scores(shop), rtol=1e-6
        )

    def test_unknown_values_are_counted(self, shop: Path, capsys):
        text = Path("rows.csv").read_text().splitlines()
        text[1:4] = ["000,1,nobody,i1", "001,0,u1,nothing", "002,0,nobody,"]
        Path("rows.csv").write_text("\n".join(text) + "\n")
        assert predict() == 0
        assert "user 2, item 1" in capsys.readouterr().out

    def test_ids_stay_as_they_are_written_where_they_are_numbers_and_features_too(self, shop: Path):
        text = [line.split(",") for line in Path("rows.csv").read_text().splitlines()]
        for row in text[1:]:
            row[1] += ".000"  # the label, which is read as a number
        Path("rows.csv").write_text("\n".join(map(",".join, text)) + "\n")
        assert predict("--id-cols", "label", "user") == 0
        found = pl.read_csv("scores.csv", infer_schema=False)
        assert set(found["label"]) == {"0.000", "1.000"} and found["user"].to_list() == [
            r[2] for r in text[1:]
        ]
        np.testing.assert_allclose(found["y_pred"].cast(float).to_numpy(), own_scores(shop), rtol=1e-6)

    @pytest.mark.parametrize("label", ["", "7", "yes"])
    def test_labels_that_are_none(self, label: str, shop: Path, capsys):
        text = (
            Path("rows.csv").read_text().replace("004,0,", f"004,{label},").replace("004,1,", f"004,{label},")
        )
        Path("rows.csv").write_text(text)
        assert predict() == 0
        output = capsys.readouterr().out
        assert "no metrics: 'rows.csv', line 6: label 'label'" in output and "AUC" not in output

    def test_several_runs_are_averaged(self, shop: Path):
        p = np.stack([own_scores(shop, "LR_shop"), own_scores(shop)])
        logit = np.log(p / (1 - p)).mean(0)
        for how, wanted in (("probability", p.mean(0)), ("logit", 1 / (1 + np.exp(-logit)))):
            assert predict("--average", how, "--force", run=("LR_shop", "QNN_shop")) == 0
            np.testing.assert_allclose(pl.read_csv("scores.csv")["y_pred"].to_numpy(), wanted, rtol=1e-5)


class TestRefused:
    @pytest.mark.parametrize(
        "arguments, said",
        [
            ({"data": "gone.csv"}, ["--data gone.csv: no such file"]),
            ({"data": "runs"}, ["--data runs: is a folder"]),
            ({"data": "empty.csv"}, ["--data empty.csv: is empty"]),
            ({"data": "only_header.csv"}, ["--data only_header.csv: has no rows"]),
            ({"data": "only_header.parquet"}, ["--data only_header.parquet: has no rows"]),
            ({"data": "rows.npz"}, ["--data rows.npz: rows come as .csv"]),
            ({"data": "wrong.parquet"}, ["'wrong.parquet' is no parquet file"]),
            ({"data": "other.csv"}, ["no column 'user'", "no column 'item'"]),
            ({"data": "ragged.csv"}, ["'ragged.csv', line 3 has 3 fields"]),
            ({"data": "numbers.parquet"}, ["column 'user' holds Float64, but the run was trained on text"]),
            ({"to": "scores.txt"}, ["--to scores.txt: scores are written as .csv or .parquet"]),
            ({"to": "there.csv"}, ["--to there.csv: exists already; --force"]),
            ({"to": "runs"}, ["--to runs: is a folder"]),
            ({"to": "rows.csv/scores.csv"}, ["'", "is a file, not a folder"]),
            ({"run": ("nobody", "QNN_shop"), "to": "there.csv"}, ["--run nobody", "--to there.csv"]),
            ({"run": ("QNN_shop", "again")}, ["two of them are the same run"]),
        ],
    )
    def test_one_message_and_nothing_changed(self, arguments: dict, said: list[str], shop: Path, capsys):
        Path("empty.csv").touch()
        Path("only_header.csv").write_text("row,label,user,item\n")
        rows = pl.read_csv("rows.csv")
        rows[:0].write_parquet("only_header.parquet")
        Path("rows.npz").write_text("x")
        Path("wrong.parquet").write_text("x")
        Path("other.csv").write_text("row,label\n1,0\n")
        Path("ragged.csv").write_text("row,label,user,item\n1,0,u1,i1\n2,0,u1\n")
        rows.with_columns(user=pl.lit(1.5)).write_parquet("numbers.parquet")
        Path("there.csv").write_text("mine")
        Path("again").symlink_to(next(shop.glob("runs/QNN_shop-*/seed7")))
        before = everything(shop)
        assert predict(**arguments) == 2
        errors = capsys.readouterr().err
        assert all(part in errors for part in said) and "Traceback" not in errors
        assert everything(shop) == before

    def test_id_columns_that_are_not_there(self, shop: Path, capsys):
        assert predict("--id-cols", "rows", "nobody") == 2
        errors = capsys.readouterr().err
        assert "no column 'rows'. Did you mean 'row'?" in errors and "'nobody'" in errors
        assert not Path("scores.csv").exists()

    def test_id_columns_that_the_file_of_scores_cannot_hold(self, shop: Path, capsys):
        rows = pl.read_csv("rows.csv").with_columns(
            y_pred=pl.lit(1), lists=pl.concat_list("row"), bytes=pl.lit(b"x"), time=pl.duration(hours=1)
        )
        rows.write_parquet("rows.parquet")
        ids = ("--id-cols", "y_pred", "lists", "bytes", "time")
        assert predict(*ids, data="rows.parquet") == 2
        errors = capsys.readouterr().err
        assert "y_pred: the scores have this name" in errors
        for name, dtype in (("lists", "List"), ("bytes", "Binary"), ("time", "Duration")):
            assert f"{name}: holds {dtype}" in errors

    def test_wrong_columns_and_ids_are_named_together(self, shop: Path, capsys):
        pl.read_csv("rows.csv").drop("item").write_csv("rows.csv")
        assert predict("--id-cols", "rows") == 2
        errors = capsys.readouterr().err
        assert "no column 'rows'" in errors and "no column 'item'" in errors

    def test_a_bad_row_late_in_the_file_leaves_nothing(self, shop: Path, monkeypatch, capsys):
        monkeypatch.setattr(files, "SHARE", 1e-5)
        with open("rows.csv", "a") as file:
            file.write("200,0,u1\n")
        before = everything(shop)
        assert predict(to="new/scores.csv") == 2
        assert "line 202 has 3 fields" in capsys.readouterr().err and everything(shop) == before

    def test_what_exists_is_kept_unless_forced(self, shop: Path):
        Path("scores.csv").write_text("mine")
        assert predict() == 2 and Path("scores.csv").read_text() == "mine"
        assert predict("--force") == 0 and Path("scores.csv").read_text() != "mine"

    def test_a_place_that_cannot_be_written(self, shop: Path, capsys):
        Path("locked").mkdir(mode=0o555)
        assert predict(to="locked/scores.csv") == 2
        assert "cannot be written" in capsys.readouterr().err


class TestSubmission:
    @pytest.fixture(autouse=True)
    def form(self, shop: Path, monkeypatch):
        """The challenge's form with as many rows as ours, on raw rows."""
        form = Submission("ID", "Task2", "prediction.csv", "prediction.zip", 200, encoded=False)
        monkeypatch.setitem(submission.SUBMISSIONS, "microlens", form)

    def ids(self, ids: list) -> None:
        pl.read_csv("rows.csv").insert_column(0, pl.Series("ID", ids)).write_csv("numbered.csv")

    def test_rows_are_counted_where_they_have_no_ids(self, shop: Path, capsys):
        assert predict("--submission", "microlens", to="sub") == 0
        found = pl.read_csv("sub/prediction.csv")
        assert found.columns == ["ID", "Task2"] and found["ID"].to_list() == list(range(200))
        np.testing.assert_allclose(found["Task2"].to_numpy(), own_scores(shop), rtol=1e-6)
        with ZipFile("sub/prediction.zip") as archive:
            assert archive.namelist() == ["prediction.csv"]
            assert archive.read("prediction.csv") == Path("sub/prediction.csv").read_bytes()
        assert "note" not in capsys.readouterr().out and len(list(Path("sub").iterdir())) == 2

    def test_the_ids_of_the_file(self, shop: Path):
        self.ids(list(range(200, 0, -1)))
        assert predict("--submission", "microlens", data="numbered.csv", to="sub") == 0
        assert pl.read_csv("sub/prediction.csv")["ID"].to_list() == list(range(200, 0, -1))

    @pytest.mark.parametrize(
        "ids, said",
        [
            ([0, *range(199)], "ID 0 stands 2 times"),
            ([None, *range(199)], "row 1: ID is None"),
            (["a", *map(str, range(199))], "row 1: ID is 'a'"),
            ([-1, *range(199)], "row 1: ID is"),
        ],
    )
    def test_ids_that_are_none(self, ids: list, said: str, shop: Path, capsys):
        self.ids(ids)
        assert predict("--submission", "microlens", data="numbered.csv", to="sub") == 2
        assert said in capsys.readouterr().err and not Path("sub").exists()

    @pytest.mark.parametrize(
        "ids, said", [([0.5, *range(1, 200)], "row 1: ID is 0.5"), ([True] * 200, "row 1: ID is True")]
    )
    def test_fractions_and_truth_are_no_ids(self, ids: list, said: str, shop: Path, capsys):
        rows = pl.read_csv("rows.csv")
        rows.insert_column(0, pl.Series("ID", ids, strict=False)).write_parquet("numbered.parquet")
        assert predict("--submission", "microlens", data="numbered.parquet", to="sub") == 2
        assert said in capsys.readouterr().err and not Path("sub").exists()

    def test_raw_runs_read_raw_rows_whatever_the_challenge_has(self, shop: Path, monkeypatch):
        form = replace(submission.SUBMISSIONS["microlens"], encoded=True)
        monkeypatch.setitem(submission.SUBMISSIONS, "microlens", form)
        assert predict("--submission", "microlens", to="sub") == 0
        found = pl.read_csv("sub/prediction.csv")["Task2"].to_numpy()
        np.testing.assert_allclose(found, own_scores(shop), rtol=1e-6)

    def test_both_files_or_none(self, shop: Path, monkeypatch, capsys):
        Path("sub").mkdir()
        for name in ("prediction.csv", "prediction.zip"):
            Path("sub", name).write_text("mine")

        def full(*arguments):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("fuxictr_qnn.serving.predicting.pack", full)
        assert predict("--submission", "microlens", "--force", to="sub") == 1
        assert "No space left" in capsys.readouterr().err
        assert {file.name: file.read_text() for file in Path("sub").iterdir()} == {
            "prediction.csv": "mine",
            "prediction.zip": "mine",
        }

    def test_the_rows_are_not_overwritten(self, shop: Path, capsys):
        Path("sub").mkdir()
        Path("rows.csv").rename("sub/prediction.csv")
        before = everything(shop)
        assert predict("--submission", "microlens", "--force", data="sub/prediction.csv", to="sub") == 2
        assert "is the file of --data" in capsys.readouterr().err and everything(shop) == before

    def test_id_columns_have_no_place(self, shop: Path, capsys):
        assert predict("--submission", "microlens", "--id-cols", "row", to="sub") == 2
        assert "writes ID and Task2 only" in capsys.readouterr().err

    def test_another_file_than_the_challenges(self, shop: Path, capsys):
        pl.read_csv("rows.csv")[:9].write_csv("few.csv")
        assert predict("--submission", "microlens", data="few.csv", to="sub") == 0
        assert "note: 'few.csv' has 9 rows, but the challenge's test file has 200" in capsys.readouterr().out

    def test_files_that_are_there_are_kept(self, shop: Path, capsys):
        Path("sub").mkdir()
        Path("sub/prediction.zip").write_text("mine")
        assert predict("--submission", "microlens", to="sub") == 2
        assert "holds prediction.zip already" in capsys.readouterr().err
        assert predict("--submission", "microlens", "--force", to="sub") == 0


def test_help_names_every_option(capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    output = capsys.readouterr().out
    for option in (
        "--run",
        "--data",
        "--id-cols",
        "--to",
        "--average",
        "--submission",
        "--encoded",
        "--force",
    ):
        assert option in output

"""Published figures: that they are what the sources say, and stand beside the right rows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from fuxictr_qnn.config.dataset import load_dataset
from fuxictr_qnn.data import Places, build_dataset
from fuxictr_qnn.reporting import reproduced
from fuxictr_qnn.reporting.published import Figure, Published, Table, load_published
from fuxictr_qnn.reporting.reproduced import figure_beside, published_fingerprints, verdict


def figures(**wanted) -> list[Figure]:
    return [
        f for f in load_published().figures if all(getattr(f, key) == value for key, value in wanted.items())
    ]


class TestTheFile:
    @pytest.mark.parametrize(
        "dataset, model, source, values",
        [
            ("tenrec_x1", "DNN", "qnn_paper", {"logloss": 0.4366, "AUC": 0.8021}),
            ("kkbox_x1", "QNNalpha", "qnn_paper", {"logloss": 0.4730, "AUC": 0.8576}),
            ("ipinyou_x1", "EDCN", "qnn_paper", {"logloss": 0.005573, "AUC": 0.7793}),
            ("frappe_x1", "FinalMLP", "bars", {"AUC": 0.986072, "logloss": 0.148415}),
            ("criteo_x4", "DCNv3", "dcnv3_logs", {"AUC": 0.816216, "logloss": 0.435816}),
            ("kkbox_x1", "ECN", "dcnv3_logs", {"AUC": 0.854016}),
            ("movielenslatest_x1", "FinalNet", "bars", {"AUC": 0.9725, "logloss": 0.1941}),
            ("avazu_x4", "ONN", "bars", {"AUC": 0.7992, "logloss": 0.3683}),
        ],
    )
    def test_figures_as_printed(self, dataset, model, source, values):
        found = [f for f in figures(dataset=dataset, model=model, source=source) if not f.variant]
        assert any(values.items() <= figure.values.items() for figure in found)

    def test_the_main_table_is_whole(self):
        found = figures(place="table 3")
        assert len(found) == 18 * 6 and all(set(f.values) == {"AUC", "logloss"} for f in found)
        best = {
            f.dataset: max(figures(place="table 3", dataset=f.dataset), key=lambda g: g.values["AUC"])
            for f in found
        }
        assert {figure.model for figure in best.values()} == {"QNNalpha"}

    def test_thirty_formats_each_with_and_without_a_post_activation(self):
        found = figures(model="QNN")
        assert len({(f.variant["neuron_type"], f.variant["hidden_activations"]) for f in found}) == 60
        (t19,) = [f for f in found if f.variant == {"neuron_type": "T19", "hidden_activations": None}]
        assert t19.values["AUC"] == 0.815595 and t19.values["parameters"] == 15_742_577

    def test_the_logs_name_our_expids(self):
        found = {f.run: f for f in figures(source="qnn_logs") if f.expid}
        assert (
            found["Frappe_045"].values["AUC"] == 0.986210 and found["Frappe_045"].expid == "QNNalpha_frappe"
        )
        assert found["ML_1M_015"].values["parameters"] == 207_649
        assert found["DCNv2 Frappe_071"].settings["num_cross_layers"] == 4

    def test_known_slips_are_marked(self):
        (row,) = [f for f in figures(place="table 5", model="xDeepFM", dataset="ml_1m_x1") if not f.variant]
        assert row.slips == ("the row is that of PNN in table 3",)
        assert all(
            "chosen on the test file" in f.slips for f in figures(place="table 3", dataset="ipinyou_x1")
        )
        weaker = {
            f.model for f in figures(place="table 3", dataset="frappe_x1") if "weaker" in " ".join(f.slips)
        }
        assert weaker == {"DNN", "DeepFM", "AutoInt", "FinalMLP", "FinalNet", "EDCN", "MaskNet"}
        kkbox = [f for f in figures(dataset="kkbox_x1") if "AUC" in f.values and f.data is None]
        assert all("that the split is BARS' KKBox_x1 was not checked" in f.slips for f in kkbox)
        (frappe,) = [f for f in figures(dataset="frappe_x1") if f.run == "Frappe_045" and "AUC" in f.values]
        assert frappe.slips == ("the paper keeps ids that occur once, its config drops them",)
        formats = {f.variant["neuron_type"]: f.slips for f in figures(dataset="criteo_x4", model="QNN")}
        assert "100 dimensions" in formats["T6"][0] and "QNN_add" in formats["T9"][0]
        assert formats["T12"] == formats["T21"] != () and formats["T19"] == ()

    def test_plots_are_marked_as_read_off(self):
        found = figures(place="scalability in the rows of the product", dataset="criteo_x4")
        assert [f.variant["num_row"] for f in found] == [1, 3, 5, 10, 20]
        assert found[2].read_off == ("AUC", "logloss") and found[2].values["latency_ms_per_100_rows"] == 2.35

    def test_every_figure_is_possible(self):
        for figure in load_published().figures:
            for name, value in figure.values.items():
                assert (
                    0 < value < 1 if "AUC" in name or "logloss" in name or name == "accuracy" else value > 0
                )

    def test_what_failed_to_train_has_no_figure(self):
        (row, *others) = figures(place="table 4", printed="w/o Res")
        assert {row.dataset, *(f.dataset for f in others)} == {"ml_1m_x1", "frappe_x1"}

    def test_every_build_is_a_dataset_of_ours(self):
        for data in load_published().data.values():
            assert data.because or load_dataset(data.build).spec.expected.md5


class TestMistakesInTheFile:
    GOOD = {
        "source": "s",
        "place": "p",
        "metrics": ["AUC"],
        "of": {"dataset": "d"},
        "rows": [{"model": "m", "values": [0.7]}],
    }

    @pytest.mark.parametrize(
        "change, what",
        [
            ({"metrics": ["AUC", "logloss"]}, "as many values as there are metrics"),
            ({"metrics": ["auc"]}, "metrics"),
            (
                {"columns": {"num_row": [1, 2]}, "rows": [{"model": "m", "values": [[0.7]]}]},
                "entries as there are columns",
            ),
            ({"slips": [{"where": {"model": "other"}, "says": "wrong"}]}, "no figure is where 'wrong' says"),
            ({"sources": "x"}, "sources"),
        ],
    )
    def test_tables(self, change, what):
        assert list(Table(**self.GOOD).figures())[0].values == {"AUC": 0.7}
        with pytest.raises(ValidationError, match=what):
            Table(**{**self.GOOD, **change})

    def test_a_source_must_be_known(self):
        with pytest.raises(ValidationError, match="s is not among the sources"):
            Published(sources={}, data={}, tables=[self.GOOD])


class TestBesideARow:
    def beside(self, dataset: str, expid: str, model: str, **settings) -> Figure | None:
        return figure_beside(dataset, expid, model, settings)

    def test_our_recipe_of_a_log_gets_that_log(self):
        figure = self.beside(
            "frappe_x1", "QNNalpha_frappe", "QNNalpha", num_layers=2, num_row=13, num_heads=1
        )
        assert figure.run == "Frappe_045"
        assert self.beside("kkbox_x1_parity", "QNNalpha_kkbox_parity", "QNNalpha").run == "KKBox_022"

    def test_a_row_with_the_settings_of_a_log_gets_it_under_any_name(self):
        figure = self.beside("frappe_x1", "mine", "QNN_alpha", num_layers=2, num_row=13, num_heads=1)
        assert figure.run == "Frappe_045"

    def test_a_tuned_row_gets_the_main_figure(self):
        figure = self.beside("frappe_x1", "mine", "QNNalpha", num_layers=3, num_row=4, num_heads=2)
        assert (figure.place, figure.values["AUC"]) == ("table 3", 0.9862)

    def test_an_ablation_gets_its_own(self):
        assert self.beside("ml_1m_x1", "x", "QNNalpha", self_ensemble=False).printed == "w/o SE Loss"
        assert self.beside("ml_1m_x1", "x", "DNN", self_ensemble=True).values["AUC"] == 0.9052
        assert self.beside("ml_1m_x1", "x", "DNN", self_ensemble=None).values["AUC"] == 0.9030

    def test_a_loss_that_nobody_published_gets_none(self):
        assert self.beside("criteo_x4", "x", "DNN", self_ensemble=True) is None

    def test_a_baseline_gets_the_highest(self):
        assert self.beside("frappe_x1", "x", "FinalMLP").source == "bars"

    def test_no_figure(self):
        assert self.beside("demo", "DNN_demo", "DNN") is None

    def test_what_was_read_off_a_plot_is_not_set_beside_ours(self):
        figure = self.beside("frappe_x1", "x", "QNNalpha", num_row=3)
        assert "AUC" not in figure.read_off


class TestVerdict:
    BARS = Figure("criteo_x4", "DNN", {"AUC": 0.8140, "logloss": 0.4380}, "bars", "p")
    SMALL = Figure("frappe_x1", "DNN", {"AUC": 0.9862, "logloss": 0.1313}, "qnn_logs", "p")
    ALONE = Figure("frappe_x1", "FM", {"AUC": 0.9671}, "qnn_logs", "p")

    @pytest.mark.parametrize(
        "figure, auc, logloss, expected",
        [
            (SMALL, 0.9853, 0.1325, "reproduced"),
            (SMALL, 0.9851, 0.1325, "not reproduced"),
            (SMALL, 0.9873, 0.1313, "not reproduced"),  # better is not the same either
            (SMALL, 0.9862, 0.1327, "not reproduced"),
            (SMALL, 0.9862, None, "AUC reproduced"),  # of its logloss nothing is known
            (SMALL, 0.9851, None, "not reproduced"),
            (ALONE, 0.9671, 0.2, "AUC reproduced"),
            (ALONE, 0.9671, None, "AUC reproduced"),
            (BARS, 0.81425, 0.4380, "reproduced"),
            (BARS, 0.8145, 0.4380, "not reproduced"),  # Criteo: 0.0003
        ],
    )
    def test_on_the_published_data(self, figure, auc, logloss, expected):
        assert verdict(figure, figure.dataset, "abc", auc, logloss, {"abc"}) == expected

    def test_on_any_other(self):
        assert verdict(self.SMALL, "frappe_x1", "abc", 0.9862, 0.1313, {"other"}) == "data differ"
        assert verdict(self.SMALL, "frappe_x1", "abc", 0.9862, 0.1313) == "data differ"

    def test_on_data_that_was_built_in_another_way(self):
        figure = figure_beside("frappe_x1", "x", "FinalMLP", {})
        assert verdict(figure, "frappe_x1", "abc", 0.986072, 0.148415, {"abc"}) == "data differ"


class TestPublishedFingerprints:
    @pytest.fixture
    def places(self, tmp_path):
        folder = tmp_path / "frappe_x1"
        folder.mkdir()
        names = "user,item,daytime,weekday,isweekend,homework,cost,weather,country,city"
        for split in ("train", "valid", "test"):
            rows = [
                ",".join(["1" if i % 2 else "0", *(str(i % (c + 2)) for c in range(10))]) for i in range(40)
            ]
            (folder / f"{split}.csv").write_text(f"label,{names}\n" + "\n".join(rows) + "\n")
        return Places(tmp_path)

    def test_files_with_the_published_md5_give_what_a_run_on_them_records(self, places, monkeypatch):
        spec = load_dataset("frappe_x1").spec
        monkeypatch.setattr(reproduced, "md5_of", lambda file: spec.expected.md5[file.name])
        said = []
        found = published_fingerprints("frappe_x1", places, said.append)
        assert found == {build_dataset(spec, places).fingerprint}
        assert len(said) == 3 and "train.csv" in said[0]

    def test_other_files_give_none(self, places):
        assert published_fingerprints("frappe_x1", places) == set()

    def test_missing_files_and_data_without_a_published_build_give_none(self, tmp_path):
        assert published_fingerprints("frappe_x1", Places(tmp_path)) == set()
        assert published_fingerprints("ml_1m_x1", Places(tmp_path)) == set()
        assert published_fingerprints("demo", Places(tmp_path)) == set()

    def test_the_reconstructed_frappe_is_not_the_published_one(self, test_data):
        assert published_fingerprints("frappe_x1", Places(test_data)) == set()


def test_the_example_of_the_page(capsys):
    page = (Path(__file__).parents[2] / "docs" / "comparing.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(example, {})
    lines = capsys.readouterr().out.splitlines()
    assert "FinalMLP {} 0.986072 bars Frappe_x1" in lines and len(lines) > 40

"""Pictures and the page: what they show, and that the page stands alone on light and dark ground."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib")

from fuxictr_qnn.errors import RequestError
from fuxictr_qnn.reporting import plots
from fuxictr_qnn.reporting.comparison import compare_entries
from fuxictr_qnn.reporting.drawing import (
    COLOURED,
    LETTERS,
    briefly_named,
    far_behind,
    log_scale,
    new_figure,
    short,
    styles,
)
from fuxictr_qnn.reporting.effects import _names, one_key_apart
from fuxictr_qnn.reporting.entries import entries_by_data
from fuxictr_qnn.reporting.labels import HEIGHT, WIDTH, place_labels
from fuxictr_qnn.reporting.page import page
from fuxictr_qnn.reporting.plots import curves_by_dataset, pictures
from fuxictr_qnn.reporting.results import results_table
from fuxictr_qnn.reporting.theme import ALL, GROUND, INK, SERIES, alone, as_png, as_svg, light, themed
from fuxictr_qnn.runs.finding import find_runs
from tests.reporting.made_runs import make_run


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """M = 1, 2, 3 at two numbers of layers, two activations, and a model with a measured latency."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        for rows in (1, 2, 3):
            for layers in (1, 2):
                params = {"num_row": rows, "num_layers": layers, "activation": "relu"}
                make_run(root, "QNN_shop", seed, 0.1 * (rows + layers), model="QNN", params=params)
        params = {"num_row": 1, "num_layers": 1, "activation": None}
        make_run(root, "QNN_shop", seed, 0.1, model="QNN", params=params)
        make_run(root, "DNN_shop", seed, metrics={"latency_ms_per_100_rows": 0.5})
    ((_, found),) = entries_by_data(find_runs([root]).runs).items()
    return compare_entries(found).entries


@pytest.fixture(scope="module")
def drawn(entries):
    return {picture.name: picture for picture in pictures(entries)}


def test_every_picture_is_there_and_says_what_it_shows(drawn):
    assert list(drawn) == ["seeds", "curves", "cost", "effects", "calibration"]
    assert all(picture.title and picture.caption.endswith(".") for picture in drawn.values())
    assert all(as_png(picture.figure).startswith(b"\x89PNG") for picture in drawn.values())


def test_seeds_as_strips(drawn, entries):
    (axis,) = drawn["seeds"].figure.axes
    assert [tick.get_text() for tick in axis.get_yticklabels()] == [entry.label for entry in entries]
    dots = [line for line in axis.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "None"]
    assert [sorted(line.get_xdata()) for line in dots] == [
        sorted(entry.values("test", "AUC")) for entry in entries
    ]


def test_training_curves_mark_the_cuts(drawn, entries):
    auc, _ = drawn["curves"].figure.axes
    lines = [line for line in auc.lines if len(line.get_xdata()) == 4]
    assert len(lines) == 2 * len(entries)
    best = entries[0].runs[0].history
    assert any(list(line.get_ydata()) == [step["AUC"] for step in best] for line in lines)
    cuts = [line for line in auc.lines if len(line.get_xdata()) == 1]
    assert {float(line.get_xdata()[0]) for line in cuts} == {3.0}


def test_cost_has_a_panel_for_what_was_measured(drawn, entries):
    parameters, latency = drawn["cost"].figure.axes
    assert len(parameters.containers) == len(entries) and len(latency.containers) == 1


def test_runs_of_one_evaluation_are_dots_in_view(tmp_path):
    for seed, value in enumerate((0.7, 0.75, 0.76, 0.77), start=1):
        folder = make_run(tmp_path, "DNN_shop", seed)
        line = json.loads((folder / "history.jsonl").read_text().splitlines()[0]) | {
            "AUC": value,
            "best": True,
        }
        (folder / "history.jsonl").write_text(json.dumps(line) + "\n")
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    (curves,) = [picture for picture in pictures(entries) if picture.name == "curves"]
    axis = curves.figure.axes[0]
    dots = [line for line in axis.lines if len(line.get_xdata()) == 1 and line.get_marker() == "."]
    low, high = axis.get_ylim()
    assert sorted(line.get_ydata()[0] for line in dots) == [0.7, 0.75, 0.76, 0.77] and low < 0.7 < 0.77 < high


def test_without_latency_there_is_one_panel(entries):
    (cost,) = [p for p in pictures([e for e in entries if e.record.model == "QNN"]) if p.name == "cost"]
    assert [axis.get_xlabel() for axis in cost.figure.axes] == ["parameters"]


def test_the_effect_of_a_setting_is_seen_among_models_that_are_else_equal(drawn, entries):
    found = dict(one_key_apart(entries))
    assert list(found) == ["num_row", "num_layers", "activation"]
    assert sorted(len(group) for group in found["num_row"]) == [3, 3]
    assert sorted(len(group) for group in found["num_layers"]) == [2, 2, 2]
    assert [len(group) for group in found["activation"]] == [2]
    rows, layers, activation = drawn["effects"].figure.axes[:3]
    titles = [axis.get_title(loc="left") for axis in (rows, layers, activation)]
    assert titles == ["M: rows of the product", "L: layers", "activation"]
    for group, container in zip(found["num_row"], rows.containers, strict=True):
        means = {entry.settings["num_row"]: entry.spread("test", "AUC").mean for entry in group}
        assert dict(zip(*container.lines[0].get_data(), strict=True)) == pytest.approx(means)
    assert {tick.get_text() for tick in activation.get_xticklabels()} == {"relu", "null"}


def test_trials_are_drawn_by_their_validation_auc(tmp_path):
    for rows, valid in ((1, 0.70), (3, 0.76), (5, 0.74)):
        changed = {"params": {"num_row": rows}, "metrics": {"test": {}}}
        make_run(tmp_path, "QNN_shop", 1, model="QNN", valid=valid, **changed)
    ((_, found),) = entries_by_data(find_runs([tmp_path]).runs).items()
    entries = compare_entries(found).entries
    assert [entry.settings["num_row"] for entry in entries] == [3, 5, 1]
    shown = {picture.name: picture for picture in pictures(entries)}
    assert shown["seeds"].figure.axes[0].get_xlabel() == "validation AUC"
    assert {shown[name].figure.axes[0].get_ylabel() for name in ("cost", "effects")} == {"validation AUC"}
    assert all("validation AUC" in shown[name].caption for name in ("seeds", "cost"))


@pytest.mark.parametrize(
    ("key", "values", "places"),
    [
        ("learning_rate", [0.1, 0.0001, 0.001], [0, 1, 2]),  # in proportion, the first two cover each other
        ("num_row", [1, 2, 4, 8, 16], [1, 2, 4, 8, 16]),
    ],
)
def test_numbers_stand_in_proportion_where_their_marks_have_room(tmp_path, key, values, places):
    for value in values:
        make_run(tmp_path, "QNN_shop", 1, 1 + 1e-5 * value, model="QNN", params={key: value})
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    axis = pictures(entries)[-2].figure.axes[0]
    assert [*axis.get_xticks()] == places
    assert [tick.get_text() for tick in axis.get_xticklabels()] == [str(value) for value in sorted(values)]
    low, high = axis.get_ylim()
    assert high - low >= 0.0019 * high, "a difference of nothing does not look like one"


@pytest.mark.parametrize(
    "values, begin",
    [
        ([[0.80], [0.79], [0.785], [0.60]], 0.785),
        ([[0.80, 0.81], [0.79, 0.78], [0.785], [0.60]], 0.78),  # the worst seed of what is in view
        ([[0.80], [0.79], [0.785], [0.77]], None),  # not far
        ([[0.986], [0.9855], [0.985], [0.983]], None),  # a third of the axis is enough to read them
        ([[0.80], [0.60]], None),  # who is to say which one is odd?
        ([[0.80, 0.5], [0.79], [0.785], [0.4]], None),  # a broken seed of the best model is in view anyway
        ([[0.80]], None),
        ([[0.80], [0.80], [0.80], [0.60]], None),  # an axis of no width
    ],
)
def test_where_an_axis_begins(values, begin):
    assert far_behind(values) == begin


@pytest.fixture(scope="module")
def apart(tmp_path_factory):
    """Three models close together, and one that would flatten them."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        for skill, name in ((1.0, "A"), (0.99, "B"), (0.98, "C"), (0.0, "LR")):
            make_run(root, f"{name}_shop", seed, skill)
    ((_, found),) = entries_by_data(find_runs([root]).runs).items()
    entries = compare_entries(found).entries
    assert [entry.label[0] for entry in entries] == list("ABCL")
    return entries, {picture.name: picture for picture in pictures(entries)}


class TestFarBehind:
    def test_seeds(self, apart):
        entries, found = apart
        (axis,) = found["seeds"].figure.axes
        low = min(entries[2].values("test", "AUC"))
        lost = min(entries[3].values("test", "AUC"))
        assert lost < axis.get_xlim()[0] < low and [text.get_text()[2:] for text in axis.texts] == [
            f"{lost:.3f}"
        ]
        assert "out of view" in found["seeds"].caption

    def test_cost(self, apart):
        entries, found = apart
        (axis,) = found["cost"].figure.axes
        bottom, low = axis.get_ylim()[0], entries[2].spread("test", "AUC").mean
        (hollow,) = [line for line in axis.lines if line.get_markerfacecolor() == "none"]
        assert entries[3].spread("test", "AUC").mean < bottom < hollow.get_ydata()[0] < low
        assert len(axis.containers) == 3 and "Hollow" in found["cost"].caption

    def test_curves(self, apart):
        entries, found = apart
        bottom, top = found["curves"].figure.axes[0].get_ylim()
        lines = {
            name: [x["AUC"] for x in entry.runs[0].history]
            for name, entry in zip("ABCL", entries, strict=True)
        }
        assert max(lines["L"]) < bottom and all(bottom < max(lines[name]) < top for name in "ABC")


def test_a_run_that_read_no_test_split_is_shown_by_validation(tmp_path):
    folder = make_run(tmp_path, "LR_shop", 1, metrics={"test": {}})
    (folder / "test_scores.parquet").unlink()
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    assert [picture.name for picture in pictures(entries)] == ["seeds", "curves"]


def test_more_entries_than_colours(tmp_path):
    for number in range(COLOURED + 3):
        make_run(tmp_path, f"M{number:02}_shop", 1, 0.1 * number)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    curves = next(picture for picture in pictures(entries) if picture.name == "curves")
    names = [text.get_text() for text in curves.figure.legends[0].get_texts()]
    assert len(names) == COLOURED + 1 and names[-1] == "3 others"
    assert curves.caption.endswith(" Grey: what comes after the first 8.")


def test_effects_are_those_of_ranked_rows(tmp_path):
    for name, skill in (("QNN_a", 0.6), ("QNN_b", 0.7), ("QNN_c", 0.8)):
        make_run(tmp_path, name, 1, skill, model="QNN", params={"num_row": ord(name[-1])})
    ((_, found),) = entries_by_data(find_runs([tmp_path]).runs, recipes=["QNN_c"]).items()
    (panel,) = next(p for p in pictures(found) if p.name == "effects").figure.axes
    assert len(panel.containers[0].lines[0].get_xdata()) == 2


def test_curves_of_several_datasets_side_by_side(entries):
    figure = curves_by_dataset({"one": entries[:2], "two": entries[2:4]})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["one", "two"]


def test_names_do_not_cover_each_other():
    from matplotlib.figure import Figure

    axis = Figure(figsize=(4, 3)).subplots()
    points = [(x / 9, 0.5 + 0.01 * (i % 3), f"name {i}") for i, x in enumerate([1, 1, 1, 2, 2, 3, 1, 2])]
    points += [(0.9, 0.02, f"low {i}") for i in range(3)]  # no room for more than one of them
    axis.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axis, points)
    assert [text.get_text() for text in axis.texts if text.get_text().startswith("low")] == ["low 0"]
    scale = 72 / axis.figure.dpi
    boxes = []
    for text in axis.texts:
        x, y = axis.transData.transform(text.xy) * scale + text.xyann
        boxes.append((x, x + WIDTH * len(text.get_text()), y))
    for i, (left, right, y) in enumerate(boxes):
        for other_left, other_right, other in boxes[:i]:
            assert right <= other_left or other_right <= left or abs(y - other) >= HEIGHT - 1e-6


def test_a_name_does_not_cover_another_point():
    from matplotlib.figure import Figure

    axis = Figure(figsize=(4, 3)).subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    place_labels(axis, [(0.5, 0.5, "3"), (0.53, 0.5, "2"), (0.2, 0.5, "1")])
    moved = {text.get_text(): text.xyann[1] for text in axis.texts}
    assert moved["1"] == moved["2"] == 0 and moved["3"] <= -HEIGHT / 2


def test_groups_are_named_by_the_fewest_settings_that_tell_them_apart(tmp_path):
    for model, params in (("DNN", {"width": 4}), ("DCNv2", {"structure": "parallel", "width": 8})):
        for name, more in (("a", {}), ("b", {"self_ensemble": True})):
            make_run(tmp_path, f"{model}_{name}", 1, model=model, params=params | more)
    ((_, entries),) = entries_by_data(find_runs([tmp_path]).runs).items()
    with_legend = next(p for p in pictures(entries) if p.name == "effects").figure.axes[0].get_legend()
    assert {text.get_text() for text in with_legend.get_texts()} == {"DNN", "DCNv2"}


def test_names_of_groups_are_whole_and_leave_out_what_a_model_has_not():
    """Two groups of one expid and two of another: no name is cut where what tells it apart would come."""
    groups = [
        [SimpleNamespace(record=SimpleNamespace(expid=model), settings={"model": model} | settings)]
        for model, settings in (
            ("DNN", {"embedding_regularizer": 0.001, "learning_rate": 0.001, "net_dropout": 0.1}),
            ("DNN", {"embedding_regularizer": 0.001, "learning_rate": 0.003, "net_dropout": 0.1}),
            ("DCNv2", {"num_cross_layers": 3, "learning_rate": 0.001, "embedding_regularizer": 0.001}),
            ("DCNv2", {"num_cross_layers": 3, "learning_rate": 0.003, "embedding_regularizer": 0.1}),
        )
    ]
    names = [name.replace("\n", " ") for name in _names(groups, "self_ensemble")]
    assert len(set(names)) == 4 and not any("default" in name or "…" in name for name in names)
    assert all(name.startswith(group[0].settings["model"]) for name, group in zip(names, groups, strict=True))


def test_groups_that_nothing_tells_apart_are_named_at_once():
    """Trying all combinations of forty settings would not end."""
    firsts = [{f"key{i}": half for i in range(40)} for half in (0, 0, 1, 1)]
    groups = [[SimpleNamespace(record=SimpleNamespace(expid="one"), settings=each)] for each in firsts]
    names = _names(groups, "width")
    assert names[0] == names[1] != names[2] == names[3]


def luminance(colour: str) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", [*SERIES, "ink", "soft"])
def test_colours_stand_out_from_the_ground(name, dark):
    """WCAG 2: 4.5 for text, 3 for lines and marks."""
    light, shade = sorted([luminance(ALL[name][dark]), luminance(GROUND[dark])], reverse=True)
    assert (light + 0.05) / (shade + 0.05) >= (4.5 if name in INK else 3)


@pytest.fixture(scope="module")
def text(entries, drawn):
    table = results_table("shop & co", compare_entries(entries))
    sections = [(table, list(drawn.values())), (table, [drawn["seeds"]])]
    return page("Results", sections, ["'runs/x' is incomplete <sic>"], ["a remark"])


class TestPage:
    def test_it_stands_alone(self, text):
        assert "<script" not in text and "<link" not in text and "@import" not in text and "src=" not in text
        assert set(re.findall(r"https?://[\w./-]+", text)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
        assert set(re.findall(r"url\((.)", text)) == {"#"}

    def test_every_colour_follows_the_ground(self, text):
        body = text[text.index("<body>") :]
        assert re.findall(r"#[0-9a-fA-F]{6}\b", body) == []
        used = set(re.findall(r"var\(--(\w+)\)", text))
        for style in re.findall(r":root \{([^}]*)\}", text):
            assert used <= set(re.findall(r"--(\w+):", style))
        assert "prefers-color-scheme: dark" in text and used >= {"ink", "soft", "faint", "s1", "ground"}

    def test_ids_are_unique_and_references_lead_to_them(self, text):
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids)) > 100
        assert {*re.findall(r'href="#([^"]+)"', text), *re.findall(r"url\(#([^)]+)\)", text)} <= set(ids)

    def test_it_says_everything(self, text):
        assert "<title>Results</title>" in text and "shop &amp; co" in text and "a remark" in text
        assert "is incomplete &lt;sic&gt;" in text and text.count("<svg ") == 6


def test_a_picture_alone_brings_its_colours(drawn):
    text = alone(as_svg(drawn["seeds"].figure, "seeds", "Seeds"))
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "prefers-color-scheme: dark" in text and f"--s1: {SERIES['s1'][1]}" in text


def test_without_matplotlib(monkeypatch, entries):
    monkeypatch.setattr(plots, "has_matplotlib", lambda: False)
    with pytest.raises(RequestError, match=r"pip install 'fuxictr-qnn\[plot\]'"):
        pictures(entries)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.05, "0.05"), (0.7, "0.7"), (15, "15"), (1000, "1k"), (1.5e6, "1.5M"), (2e7, "20M"), (3e9, "3G")],
)
def test_marks_of_an_axis(value, shown):
    assert short(value) == shown


@pytest.mark.parametrize("ratio", [2, 15, 200, 5e3, 1e5, 1e8])
def test_marks_of_a_log_axis_do_not_touch(ratio):
    with themed():
        figure = new_figure(7.6, 3)
        axis = figure.subplots(1, 2)[0]
        axis.plot([8e3, 8e3 * ratio], [0, 1])
        log_scale(axis, "parameters")
        figure.canvas.draw()
    low, high = axis.get_xlim()
    drawn = [label for label in axis.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in drawn]
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_a_long_name_is_cut_to_what_tells_it_apart(tmp_path):
    make_run(tmp_path, "LR_shop", 1)
    make_run(tmp_path, "LR_shop", 1, params={"embedding_dim": 32, "num_layers": 3, "net_dropout": 0.2})
    make_run(tmp_path, "FM_shop", 1)
    (entries,) = entries_by_data(find_runs([tmp_path]).runs).values()
    assert max(len(entry.label) for entry in entries) > LETTERS
    names = [entry.label for entry in briefly_named(entries)]
    assert len(set(names)) == 3 and "FM_shop" in names and max(map(len, names)) <= LETTERS
    assert sorted(name.count("=") for name in names) == [0, 1, 2]  # a short one is whole


def test_no_name_is_cut_within_a_setting(tmp_path):
    """Nobody may read `average_las…` of a run that has `average_last=null`; the hash stands instead."""
    base = {"reduce_lr_patience": 1, "max_lr_cuts": None, "average_last": None}
    make_run(tmp_path, "DCNv2_frappe_long_name", 1, params=base)
    patient = {"reduce_lr_patience": 3, "max_lr_cuts": 2}
    make_run(tmp_path, "DCNv2_frappe_long_name", 1, params=base | patient)
    make_run(tmp_path, "DCNv2_frappe_long_name", 1, params=base | {"average_last": 3, "note": "x" * LETTERS})
    make_run(tmp_path, "DCNv2_frappe_long_name", 1, params=base | {"num_row": 2})
    (entries,) = entries_by_data(find_runs([tmp_path]).runs).values()
    short = {entry.record.config_digest: entry.label for entry in briefly_named(entries)}
    assert len(set(short.values())) == 4 and max(map(len, short.values())) <= LETTERS
    for digest, name in short.items():
        settings = name.partition(" (")[2].removesuffix(")")
        assert name.endswith(f" [{digest}]") or all(
            text.count("=") == 1 for text in settings.split(", ") if text
        )
        assert "…" not in settings


def test_a_name_is_the_same_in_every_picture_and_fits_the_legend(tmp_path):
    """The legend's columns are counted on the names that are drawn."""
    for rows in range(1, 9):
        for dropout in (0.1, 0.2):
            params = {"num_row": rows, "net_dropout": dropout, "embedding_dim": 4 + rows, "num_layers": rows}
            make_run(tmp_path, "QNNalpha_shop", 1, rows + dropout, params=params)
    (entries,) = entries_by_data(find_runs([tmp_path]).runs).values()
    assert max(len(entry.label) for entry in entries) > LETTERS
    shown = {picture.name: picture for picture in pictures(entries)}
    names = [text.get_text() for text in shown["curves"].figure.legends[0].get_texts()]
    assert set(names[:-1]) <= {tick.get_text() for tick in shown["seeds"].figure.axes[0].get_yticklabels()}
    for name in ("curves", "cost", "calibration"):
        figure = shown[name].figure
        figure.canvas.draw()
        assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1


def test_recipes_are_grey_and_outside_the_order(tmp_path):
    """Also where the highest point is one, and colours are left."""
    for name, skill in (("DNN_shop", 0.6), ("FM_shop", 0.5), ("QNNalpha_shop", 0.9)):
        make_run(tmp_path, name, 1, skill, model=name.partition("_")[0])
    ((_, found),) = entries_by_data(find_runs([tmp_path]).runs, recipes=["QNNalpha_shop"]).items()
    entries = compare_entries(found).entries
    assert [entry.label for entry in entries] == ["DNN_shop", "FM_shop", "QNNalpha_shop"]
    looks = styles(entries)
    assert looks[2] == (light("soft"), "o") and len({colour for colour, _ in looks}) == 3
    shown = {picture.name: picture for picture in pictures(entries)}
    assert all(
        "Grey: what is outside the ranking." in shown[name].caption for name in ("seeds", "curves", "cost")
    )
    assert "Numbers: the order of the table." in shown["cost"].caption
    (legend,) = shown["curves"].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["DNN_shop", "FM_shop", "1 other"]
    (legend,) = shown["cost"].figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1 DNN_shop", "2 FM_shop", "3 QNNalpha_shop"]
    assert shown["calibration"].caption.endswith("Not drawn: what is outside the ranking.")
    alone = [entry for entry in entries if entry.recipe]
    assert styles(alone)[0][0] != light("soft") and "Grey" not in pictures(alone)[0].caption

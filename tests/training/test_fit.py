"""The fit loop against FuxiCTR's own, and what it does beyond it."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fuxictr.pytorch.models import BaseModel

from fuxictr_qnn.errors import RequestError, RunError
from fuxictr_qnn.models import DNN, FM, QNNalpha
from fuxictr_qnn.models.registry import register_model
from fuxictr_qnn.training.averaging import make_average, weights_of
from fuxictr_qnn.training.evaluation import evaluate
from fuxictr_qnn.training.fit import Fit, Hooks
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.setup import Float32, build_model, replace_optimizer
from fuxictr_qnn.training.step import TrainStep
from tests.synthetic import BASE
from tests.training.conftest import SMALL

MODELS = {
    "QNNalpha": (
        QNNalpha,
        {"num_row": 3, "net_dropout": 0.0, "batch_norm": True, "embedding_regularizer": 0.01},
    ),
    "DNN": (
        DNN,
        {"hidden_units": [16, 8], "embedding_regularizer": "l1_l2(0.001,0.01)", "net_regularizer": 0.001},
    ),
    "FM": (FM, {"regularizer": "l1(0.001)"}),
}


def make(name, feature_map, settings=SMALL, **kwargs):
    cls, options = MODELS[name]
    torch.manual_seed(5)
    model = cls(
        feature_map,
        embedding_dim=4,
        learning_rate=settings.learning_rate,
        early_stop_patience=settings.early_stop_patience,
        eval_steps=settings.eval_steps,
        **(options | BASE | kwargs),
    )
    return model


@pytest.mark.parametrize("name", sorted(MODELS))
def test_twenty_steps_give_fuxictrs_losses(name, feature_map, train_batches):
    settings = FitSettings()  # the papers' learning rate
    theirs, ours = make(name, feature_map, settings), make(name, feature_map, settings)
    replace_optimizer(ours, settings)
    theirs._max_gradient_norm = settings.max_gradient_norm
    step = TrainStep(ours, settings)
    theirs.train(), ours.train()
    for batch in train_batches * 2:
        assert step([batch]).item() == pytest.approx(theirs.train_step(batch).item(), abs=1e-6)


def in_double(model):
    """In float64 rounding cannot decide which of two rows ranks higher."""
    model.get_labels = lambda inputs: inputs["label"].double().view(-1, 1)
    return model.double()


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_fit_gives_fuxictrs_metrics(name, hard, feature_map, train_batches, valid_batches, tmp_path):
    """Hard: evaluations within epochs, and a rate so high that cuts and early stopping come in."""
    settings = {"epochs": 9, "eval_steps": 4, "learning_rate": 0.1} if hard else {"epochs": 2}
    settings = SMALL.model_copy(update=settings)
    theirs, ours = (make(name, feature_map, settings, model_root=str(tmp_path)) for _ in range(2))
    if hard:
        theirs, ours = in_double(theirs), in_double(ours)
    (tmp_path / feature_map.dataset_id).mkdir()
    theirs.fit(train_batches, epochs=settings.epochs, validation_data=valid_batches)
    replace_optimizer(ours, settings)
    best = {}
    hooks = Hooks(on_best=lambda model: best.update({k: v.clone() for k, v in model.state_dict().items()}))
    fit = Fit(ours, settings, train_batches, valid_batches, hooks)
    fit.run()
    assert fit.position.step == theirs._total_steps
    assert ours.optimizer.param_groups[0]["lr"] == theirs.optimizer.param_groups[0]["lr"]
    assert not hard or ours.optimizer.param_groups[0]["lr"] < settings.learning_rate
    assert fit.schedule.best == pytest.approx(theirs._best_metric, abs=1e-5)
    ours.load_state_dict(best)
    expected = theirs.evaluate(valid_batches)
    assert evaluate(ours, valid_batches, ["AUC", "logloss"]) == pytest.approx(dict(expected), abs=1e-5)


def run_fit(feature_map, batches, valid, **settings):
    settings = SMALL.model_copy(update=settings)
    model = make("QNNalpha", feature_map, settings)
    if settings.amp:
        model.output_activation = Float32(model.output_activation)
    replace_optimizer(model, settings)
    records = []
    Fit(model, settings, batches, valid, Hooks(on_evaluation=records.append)).run()
    return model, records


def test_the_train_loss_is_the_mean_since_the_last_report(feature_map, train_batches, valid_batches):
    """10 batches an epoch, evaluated every 4: FuxiCTR would forget the last two batches."""
    model, records = run_fit(feature_map, train_batches, valid_batches, epochs=1, eval_steps=4)
    twin = make("QNNalpha", feature_map)
    replace_optimizer(twin, SMALL)
    step = TrainStep(twin.train(), SMALL)
    losses = [step([batch]).item() for batch in train_batches]
    assert [record["step"] for record in records] == [4, 8, 10]
    expected = [np.mean(losses[:4]), np.mean(losses[4:8]), np.mean(losses[8:])]
    assert [record["train_loss"] for record in records] == pytest.approx(expected, rel=1e-5)


def test_there_is_an_evaluation_even_when_eval_steps_is_beyond_the_end(
    feature_map, train_batches, valid_batches
):
    _, records = run_fit(feature_map, train_batches, valid_batches, epochs=2, eval_steps=1000)
    assert [(record["epoch"], record["step"]) for record in records] == [(2, 20)]


def test_accumulated_batches_make_the_step_of_one_large_batch(feature_map, train_batches):
    settings = SMALL.model_copy(update={"optimizer": "SGD"})
    one, many = make("DNN", feature_map), make("DNN", feature_map)
    for model in (one, many):
        replace_optimizer(model, settings)
        model.train()
    joined = {k: torch.cat([b[k] for b in train_batches[:4]]) for k in train_batches[0]}
    assert TrainStep(many, settings)(train_batches[:4]).item() == pytest.approx(
        TrainStep(one, settings)([joined]).item(), rel=1e-5
    )
    for a, b in zip(one.parameters(), many.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_the_last_partial_group_of_an_epoch_is_used(feature_map, train_batches, valid_batches):
    _, records = run_fit(feature_map, train_batches, valid_batches, epochs=1, accumulate_steps=4)
    assert records[-1]["step"] == 10


def test_a_loss_that_is_not_finite_names_the_first_bad_step(feature_map, train_batches, valid_batches):
    class Bad(DNN):
        def add_loss(self, return_dict, y_true):
            loss = super().add_loss(return_dict, y_true)
            return loss * float("nan") if self._total_steps >= 7 else loss

    model = Bad(feature_map, embedding_dim=4, hidden_units=[4], **BASE)
    with pytest.raises(RunError, match="not finite since step 7"):
        Fit(model, SMALL, train_batches, valid_batches).run()


def test_weights_that_burst_are_a_failed_run_with_a_step(feature_map, train_batches, valid_batches):
    """The loss before was finite, but the weights after it give no probabilities."""
    with pytest.raises(RunError, match="training failed at step 2|not finite"):
        run_fit(feature_map, train_batches, valid_batches, learning_rate=1e30)


def test_one_class_in_validation_is_said_plainly(feature_map, train_batches, valid_batches):
    for batch in valid_batches:
        batch["label"] = torch.ones_like(batch["label"])
    with pytest.raises(RequestError, match="AUC is not defined on this split: all its labels are 1"):
        run_fit(feature_map, train_batches, valid_batches)


def test_a_models_own_train_step_is_respected_and_finds_its_attributes(
    feature_map, train_batches, valid_batches
):
    seen = []

    class Own(DNN):
        def train_step(self, batch_data):
            seen.append((self._epoch_index, self._batch_index, self._total_steps, self._max_gradient_norm))
            return BaseModel.train_step(self, batch_data)

    model = Own(feature_map, embedding_dim=4, hidden_units=[4], **BASE)
    Fit(model, SMALL.model_copy(update={"epochs": 2}), train_batches, valid_batches).run()
    assert seen[0] == (0, 0, 1, 10.0) and seen[-1] == (1, 9, 20, 10.0)


def test_own_evaluate_and_predict_are_respected(feature_map, valid_batches):
    class OwnEvaluate(DNN):
        def evaluate(self, data_generator, metrics=None):
            return {"AUC": 0.25}

    class OwnPredict(DNN):
        def predict(self, data_generator):
            return np.concatenate([batch["label"].numpy() for batch in data_generator])

    assert evaluate(OwnEvaluate(feature_map, embedding_dim=4, **BASE), valid_batches, ["AUC"]) == {
        "AUC": 0.25
    }
    assert evaluate(OwnPredict(feature_map, embedding_dim=4, **BASE), valid_batches, ["AUC"]) == {"AUC": 1.0}


def test_nan_of_an_own_evaluate_ends_the_run(feature_map, train_batches, valid_batches):
    """As the best value it would outlast all that follow: no later one is greater."""

    class Nan(DNN):
        def evaluate(self, data_generator, metrics=None):
            return {"AUC": float("nan"), "logloss": 0.5}

    model = Nan(feature_map, embedding_dim=4, hidden_units=[4], **BASE)
    with pytest.raises(RunError, match="Nan.evaluate gives NaN for AUC: lower learning_rate"):
        Fit(model, SMALL, train_batches, valid_batches).run()


@pytest.mark.parametrize(
    "own, said",
    [
        (lambda: {"logloss": 0.5}, "Own.evaluate gives no AUC: take it out of metrics and monitor"),
        (lambda: torch.ones(2) @ torch.ones(3), "evaluation failed after step 10: "),
    ],
)
def test_an_evaluation_that_fails_says_so(feature_map, train_batches, valid_batches, own, said):
    class Own(DNN):
        def evaluate(self, data_generator, metrics=None):
            return own()

    model = Own(feature_map, embedding_dim=4, hidden_units=[4], **BASE)
    with pytest.raises(RunError, match=said):
        Fit(model, SMALL, train_batches, valid_batches).run()


def test_a_checkpoint_keeps_every_random_state(feature_map, train_batches, valid_batches, tmp_path):
    """Python's, too, which a model from elsewhere may draw from."""

    def draws():
        return random.random(), np.random.rand(), torch.rand(()).item()

    fit = Fit(make("DNN", feature_map), SMALL, train_batches, valid_batches)
    torch.save(fit.state(), tmp_path / "checkpoint.pt")
    expected = draws()
    fit.load(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    assert draws() == expected


def test_exponential_average_follows_its_formula(feature_map, train_batches):
    model = make("QNNalpha", feature_map)
    replace_optimizer(model, SMALL)
    average = make_average(FitSettings(ema_decay=0.9))
    step, expected = TrainStep(model.train(), SMALL), None
    for t, batch in enumerate(train_batches, 1):
        step([batch])
        average.after_step(model)
        now = {k: v.double() for k, v in model.state_dict().items() if v.is_floating_point()}
        d = min(0.9, (1 + t) / (10 + t))
        expected = now if t == 1 else {k: d * expected[k] + (1 - d) * now[k] for k in now}
    for name, value in average.at_evaluation(model).items():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-6)


def test_mean_of_the_last_evaluations(feature_map, train_batches, valid_batches):
    states = []
    settings = SMALL.model_copy(update={"average_last": 2, "epochs": 3})
    model = make("QNNalpha", feature_map, settings)
    replace_optimizer(model, settings)
    fit = Fit(
        model,
        settings,
        train_batches,
        valid_batches,
        Hooks(on_best=lambda m: states.append(m.fc.weight.clone())),
    )
    own = []
    original = fit.average.at_evaluation
    fit.average.at_evaluation = lambda m: (own.append(m.fc.weight.detach().clone()), original(m))[1]
    fit.run()
    assert len(states) == 3  # every epoch improved, so each mean was kept as the best
    torch.testing.assert_close(states[0], own[0])
    torch.testing.assert_close(states[2], (own[1] + own[2]) / 2)
    torch.testing.assert_close(model.fc.weight, own[2])  # training itself goes on from its own weights


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
@pytest.mark.parametrize("settings", [{"ema_decay": 0.9}, {"average_last": 2}])
def test_averages_are_restored_to_the_models_device(settings, feature_map, train_batches, valid_batches):
    """A checkpoint is read on the CPU, whatever device the model is on ("meta" stands in for a GPU)."""
    settings = SMALL.model_copy(update=settings | {"epochs": 1})
    fits = []
    for _ in range(2):
        model = make("QNNalpha", feature_map, settings)
        replace_optimizer(model, settings)
        fits.append(Fit(model, settings, train_batches, valid_batches))
    fits[0].run()
    state = fits[0].state()
    fits[1].model.to("meta")
    fits[1].model.device = torch.device("meta")
    fits[1].load(state)
    fits[1].average.after_step(fits[1].model)
    averaged = fits[1].average.at_evaluation(fits[1].model)
    assert {value.device.type for value in averaged.values()} == {"meta"}


@pytest.mark.parametrize("key, value", [("accumulate_steps", 2), ("compile", True)])
def test_what_an_own_train_step_excludes(key, value, feature_map):
    class Own(DNN):
        def train_step(self, batch_data):
            return BaseModel.train_step(self, batch_data)

    register_model(Own, name=f"OwnStep_{key}")
    experiment = SimpleNamespace(
        expid="x", model=f"OwnStep_{key}", model_params={"embedding_dim": 4}, fit=FitSettings(**{key: value})
    )
    with pytest.raises(RequestError, match=f"{key}: OwnStep_{key} has a train_step of its own"):
        build_model(experiment, feature_map, -1, "unused")


@pytest.mark.slow
@pytest.mark.parametrize("name, dropout", [("QNNalpha", 0.3), ("DNN", 0)])
def test_compiled_steps_give_the_losses_of_plain_ones(name, dropout, feature_map, train_batches):
    """The compiler takes half a minute. QNN-alpha keeps its masks on a CPU; torch's own dropout does not."""
    losses = []
    for compiled in (False, True):
        settings = SMALL.model_copy(update={"compile": compiled})
        model = make(name, feature_map, settings, net_dropout=dropout)
        replace_optimizer(model, settings)
        step = TrainStep(model.train(), settings)
        losses.append([step([batch]).item() for batch in train_batches])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_a_model_that_cannot_be_compiled_says_so(feature_map, train_batches, monkeypatch):
    def compiled(forward):
        def fails(batch):
            raise RuntimeError("no C++ compiler\nand a long trace")

        return fails

    monkeypatch.setattr(torch, "compile", compiled)
    settings = SMALL.model_copy(update={"compile": True})
    step = TrainStep(make("DNN", feature_map), settings)
    with pytest.raises(
        RunError, match="compile: the compiled model fails: no C\\+\\+ compiler; remove the key"
    ):
        step(train_batches[:1])


def test_weights_come_back_after_an_averaged_evaluation(feature_map):
    model = make("DNN", feature_map)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), weights_of(model, {k: v + 1 for k, v in before.items()}):
        assert not torch.equal(model.state_dict()["mlp.mlp.0.weight"], before["mlp.mlp.0.weight"])
        raise ZeroDivisionError
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_optimizer_options_and_refusals(feature_map):
    model = make("DNN", feature_map)
    replace_optimizer(model, SMALL.model_copy(update={"optimizer_params": {"betas": [0.5, 0.9]}}))
    assert model.optimizer.param_groups[0]["betas"] == (0.5, 0.9)
    with pytest.raises(RequestError, match="optimizer: Adamm is not one of torch.optim. Did you mean 'Adam'"):
        replace_optimizer(model, SMALL.model_copy(update={"optimizer": "Adamm"}))
    with pytest.raises(RequestError, match="optimizer_params: Adam refuses them"):
        replace_optimizer(model, SMALL.model_copy(update={"optimizer_params": {"beta": 1}}))


def test_bfloat16_trains_with_the_loss_in_float32(feature_map, train_batches, valid_batches):
    settings = SMALL.model_copy(update={"amp": "bf16"})
    _, records = run_fit(feature_map, train_batches, valid_batches, **settings.model_dump(include={"amp"}))
    assert records[-1]["train_loss"] < records[0]["train_loss"]

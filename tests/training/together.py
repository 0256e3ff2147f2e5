"""What tests let several workers do together, and one alone, to compare.

Each scenario is a function of the workers; what it returns is compared. Spawned processes import this file,
so it stands apart from the tests.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from fuxictr_qnn.data import Places
from fuxictr_qnn.errors import FuxictrError, RequestError, RunError
from fuxictr_qnn.models import DIN, DNN, QIN, QNNalpha
from fuxictr_qnn.training.distributed import gradients, group, sharing
from fuxictr_qnn.training.distributed.group import WorkerGroup
from fuxictr_qnn.training.distributed.worker import outcome
from fuxictr_qnn.training.distributed.workers import ALONE, Workers
from fuxictr_qnn.training.evaluation import evaluate, score
from fuxictr_qnn.training.fit import Fit, Hooks
from fuxictr_qnn.training.run import run_seed
from fuxictr_qnn.training.settings import FitSettings
from fuxictr_qnn.training.setup import replace_optimizer
from fuxictr_qnn.training.step import TrainStep
from tests.synthetic import BASE, make_batches, make_feature_map, make_item_feature_map

# Models with batch norm in all its forms: folded, plain, in an MLP, in Dice over (B, S) rows.
MODELS = {
    "folded": (QNNalpha, {"num_layers": 2, "num_row": 2, "batch_norm": True, "net_dropout": 0.0}),
    "plain": (QNNalpha, {"num_layers": 2, "batch_norm": True, "net_dropout": 0.0, "fast": False}),
    "mlp": (DNN, {"hidden_units": [6, 5], "batch_norm": True, "embedding_regularizer": 0.01}),
    "history": (QIN, {"num_layers": 2, "num_row": 2, "net_dropout": 0.0, "self_ensemble": True}),
    "without": (DNN, {"hidden_units": [6]}),
    "dice": (DIN, {"batch_norm": True, "dnn_hidden_units": [6], "attention_hidden_activations": "Dice"}),
}
UNEVEN = [33, 7]
STEPS = [("one batch", [32], None), ("two batches", UNEVEN, None), ("weights", UNEVEN, "w")]
STEP = FitSettings(learning_rate=1e-2, max_gradient_norm=1e9)


class Unused(DNN):
    """One parameter without a gradient, and one that has one only where a row of feature a is even."""

    def __init__(self, feature_map, **kwargs):
        super().__init__(feature_map, embedding_dim=4, hidden_units=[4], **kwargs)
        self.never, self.sometimes = (nn.Parameter(torch.ones(())) for _ in range(2))

    def forward(self, inputs):
        y_pred = super().forward(inputs)["y_pred"]
        if (inputs["a"] % 2 == 0).any():
            y_pred = y_pred * torch.sigmoid(self.sometimes)
        return {"y_pred": y_pred}


def make(name: str, weight_col: str | None = None, settings: FitSettings = STEP) -> Any:
    """A model in float64."""
    cls, options = MODELS[name]
    if cls in (QIN, DIN):
        feature_map = make_item_feature_map(dim=4)
        for features in (feature_map.features, feature_map.item_table):
            del features["item_vector"]  # FuxiCTR makes it float32
    else:
        feature_map = make_feature_map({"a": 9, "b": 7}, dim=4)
    feature_map.weight_col = weight_col
    torch.manual_seed(5)
    model = cls(feature_map, embedding_dim=4, learning_rate=settings.learning_rate, **options, **BASE)
    return in_float64(model, settings)


def in_float64(model: Any, settings: FitSettings) -> Any:
    model.double().train()
    model.get_labels = lambda batch: batch["label"].double().view(-1, 1)
    replace_optimizer(model, settings)
    return model


def batches_of(model: Any, sizes: list[int]) -> list[dict[str, torch.Tensor]]:
    made = [make_batches(model.feature_map, size, 1, seed=at)[0] for at, size in enumerate(sizes)]
    generator = torch.Generator().manual_seed(3)
    for batch in made if getattr(model.feature_map, "weight_col", None) else []:
        batch["w"] = torch.rand(len(batch["label"]), generator=generator).double() * 3
    return [_wide(batch) for batch in made]


def _wide(batch):
    return {name: column.double() if column.is_floating_point() else column for name, column in batch.items()}


def step(workers: Workers, name: str, sizes: list[int], weight_col: str | None = None) -> dict[str, Any]:
    """Loss, gradients and running statistics of one step."""
    model = make(name, weight_col)
    workers.adopt(model, seed=1)
    loss = TrainStep(model, STEP, workers)(batches_of(model, sizes))
    return {
        "loss": loss,
        **{f"gradient of {key}": value.grad for key, value in model.named_parameters()},
        **{key: value.double() for key, value in model.named_buffers() if "running" in key or "num_" in key},
    }


def unused(workers: Workers) -> dict[str, Any]:
    """Gradients of parameters that not all rows reach."""
    feature_map = make_feature_map({"a": 9, "b": 7}, dim=4)
    torch.manual_seed(5)
    model = in_float64(Unused(feature_map, learning_rate=1e-2, **BASE), STEP)
    workers.adopt(model, seed=1)
    (batch,) = batches_of(model, [8])
    batch["a"] = torch.tensor([1, 3, 5, 7, 2, 4, 6, 8], dtype=torch.int32)  # even ones with the second worker
    TrainStep(model, STEP, workers)([batch])
    return {"never": model.never.grad, "sometimes": model.sometimes.grad is not None}


def fit(workers: Workers) -> list[dict[str, Any]]:
    """A whole training: what is written about each evaluation."""
    settings = FitSettings(
        learning_rate=0.05, epochs=6, accumulate_steps=2, eval_steps=3, ema_decay=0.9, early_stop_patience=4
    )
    model = make("folded", settings=settings)
    workers.adopt(model, seed=1)
    train, valid = batches_of(model, [33] * 7), batches_of(model, [50] * 3)
    records = []
    Fit(model, settings, train, valid, Hooks(on_evaluation=records.append), workers).run()
    return [{key: value for key, value in record.items() if key != "seconds"} for record in records]


def scores(workers: Workers) -> dict[str, Any]:
    """Scores and metrics of more and of fewer batches than workers."""
    model = make("folded")
    model.feature_map.group_id = "b"
    workers.adopt(model, seed=1)
    found = {}
    for count in (5, 1):
        loader = batches_of(model, [20] * count)
        made = score(model, loader, None, workers)
        metrics = evaluate(model, loader, ["AUC", "logloss", "gAUC"], None, workers)
        found[count] = (made.y_pred, made.y_true, made.group, metrics)
    return found


def streams(workers: Workers) -> dict[str, Any]:
    """Weights and dropout masks where each worker has made other weights."""
    model = make("folded")
    with torch.no_grad():
        model.fc.bias += workers.rank
    torch.manual_seed(7)
    workers.adopt(model, seed=7)
    return {"bias": model.fc.bias.detach().clone(), "random": torch.rand(4)}


def failures(workers: Workers) -> list[tuple[str, int, str]]:
    """How failures of the first, of another and of all workers arrive."""

    def fail(who, error):
        if workers.rank in who:
            raise error

    found = []
    for attempt in (
        lambda: workers.all_do(lambda: fail([1], RequestError(["one", "two"]))),
        lambda: workers.all_do(lambda: fail([0, 1], RunError("both"))),
        lambda: workers.first_does(lambda: fail([0], RequestError("first"))),
        lambda: workers.first_then_all(lambda: fail([1], OSError("disk"))),
        lambda: workers.all_do(lambda: workers.first_does(lambda: fail([0], ValueError("inner")))),
        lambda: workers.all_do(lambda: [fail([1], RequestError("early")), workers.first_does(int)]),
    ):
        try:
            attempt()
        except Exception as error:
            code = getattr(error, "exit_code", 1)
            found.append((type(error).__name__, code, "\n".join(getattr(error, "problems", [str(error)]))))
    found.append(workers.first_does(lambda: f"made by {workers.rank}"))
    return found


def whole_run(workers: Workers, request: dict[str, Any]) -> dict[str, Any]:
    """A run, one that is interrupted and goes on, and others."""
    calls = {"places": Places(Path(request["data"])), "gpu": -1, "workers": workers}
    straight = run_seed(request["experiment"], 7, out=Path(request["out"]) / "straight", **calls)
    stopped = Path(request["out"]) / "stopped"
    plain, steps = TrainStep.__call__, iter(range(100))

    def interrupted(self, batches):
        if next(steps) == 20:
            raise KeyboardInterrupt
        return plain(self, batches)

    TrainStep.__call__ = interrupted
    try:
        run_seed(request["experiment"], 7, out=stopped, **calls)
    except KeyboardInterrupt:
        pass
    finally:
        TrainStep.__call__ = plain
    refused = outcome(lambda: run_seed(request["experiment"], 7, out=stopped, **calls), workers)
    resumed = run_seed(request["experiment"], 7, out=stopped, resume=True, **calls)
    again = run_seed(request["experiment"], 7, out=stopped, **calls)
    streamed = run_seed(request["streamed"], 7, out=stopped, **calls)
    exploding = outcome(lambda: run_seed(request["exploding"], 7, out=stopped, **calls), workers)
    return {
        "straight": straight.metrics,
        "refused": (type(refused).__name__, str(refused)),
        "resumed": resumed.metrics,
        "reused": again.reused,
        "streamed": streamed.metrics,
        "exploding": (type(exploding).__name__, str(exploding)),
    }


def scenarios(workers: Workers, request: dict[str, Any]) -> dict[str, Any]:
    """Everything, by name."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name in MODELS:
        for what, sizes, weight_col in STEPS:
            found[f"{name}, {what}"] = step(workers, name, sizes, weight_col)
    found["without, fewer rows than workers"] = step(workers, "without", [9, 1])
    for scenario in (unused, fit, scores, streams):
        found[scenario.__name__] = scenario(workers)
    if workers.size > 1:
        gradients._LARGE = 20
        found["folded, two batches, summed in place"] = step(workers, "folded", UNEVEN)
        group.rows_of = lambda count, rank, size: range(0 if rank else count)  # all for the first
        for name in ("folded", "plain", "mlp"):
            found[f"{name}, two batches, all for the first"] = step(workers, name, UNEVEN)
        group.rows_of = sharing.rows_of
        found["failures"] = failures(workers)
        found["whole run"] = whole_run(workers, request)
    return found


def alone_and_together(
    folder: Path, request: dict[str, Any], size: int = 2
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What this process finds, and what each of `size` others meanwhile."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    others = mp.spawn(_worker, (size, port, folder, request), nprocs=size, join=False)
    threads = torch.get_num_threads()
    alone = scenarios(ALONE, {})
    torch.set_num_threads(threads)
    while not others.join():
        pass
    return alone, [torch.load(folder / f"found{rank}.pt", weights_only=False) for rank in range(size)]


def _worker(rank: int, size: int, port: int, folder: Path, request: dict[str, Any]) -> None:
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=size, timeout=timedelta(seconds=60))
    try:
        torch.save(scenarios(WorkerGroup(), request), folder / f"found{rank}.pt")
    except FuxictrError as error:
        raise SystemExit(f"worker {rank}: {error}") from error
    finally:
        dist.destroy_process_group()

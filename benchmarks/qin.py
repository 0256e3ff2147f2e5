"""QIN at its published sizes beside the model as it is printed: scoring rows, and a training step.

    python -m benchmarks.qin [--turns 3]

MicroLens' columns (91,717 items with 5 tags and a vector of 128, histories of 64) with random values. The
reference embeds and projects every item of every history and forms each row of the quadratic layers' product.

Of the training steps only ours has the allocator setting of `fuxictr run` (keep_freed_memory), of the
scorings none. A side whose first call takes 20 s is that one call, not warmed up: none on two cores.
"""

from __future__ import annotations

import argparse
from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from fuxictr.features import FeatureMap
from fuxictr.pytorch.models import BaseModel
from torch import Tensor, nn

from benchmarks.sides import Action, hardware, measure, terms
from benchmarks.train_step import device
from fuxictr_qnn.config.load import load_experiment
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.training.device import keep_freed_memory
from fuxictr_qnn.training.experiment import Experiment
from fuxictr_qnn.training.setup import build_model, replace_optimizer, seed_everything
from fuxictr_qnn.training.step import TrainStep

ITEMS, TAGS, LEVELS, LENGTH, VECTOR = 91_718, 11_740, 11, 64, 128


def experiment(embedding_dim: int) -> Experiment:
    return load_experiment("QIN_microlens", overrides=[f"embedding_dim={embedding_dim}"]).experiment


def feature_map(embedding_dim: int, items: int = ITEMS) -> FeatureMap:
    """MicroLens_1M_x1's columns and a table of random items."""
    item, level = {"source": "item"}, {"type": "categorical", "source": "", "vocab_size": LEVELS}
    columns = {
        "likes_level": level | {"padding_idx": 0},
        "views_level": level | {"padding_idx": 0},
        "item_id": {"type": "categorical", "vocab_size": items, "padding_idx": 0} | item,
        "item_tags": {
            "type": "sequence", "vocab_size": TAGS, "padding_idx": 0, "max_len": 5,
            "feature_encoder": "layers.MaskedAveragePooling()",
        } | item,
        "item_emb_d128": {"type": "embedding", "pretrain_dim": VECTOR} | item,
        "item_seq": {"type": "meta", "max_len": LENGTH, "source": ""},
    }  # fmt: skip
    columns["item_emb_d128"]["feature_encoder"] = f"nn.Linear({VECTOR}, {embedding_dim}, bias=False)"
    found = FeatureMap("microlens", "unused")
    found.features, found.labels, found.default_emb_dim = OrderedDict(columns), ["label"], embedding_dim
    found.num_fields = found.get_num_fields()
    found.set_column_index()
    generator = torch.Generator().manual_seed(0)
    found.item_table = {
        "item_id": torch.arange(items, dtype=torch.int32),
        "item_tags": torch.randint(0, TAGS, (items, 5), generator=generator, dtype=torch.int32),
        "item_emb_d128": torch.randn(items, VECTOR, generator=generator),
    }
    for column in found.item_table.values():
        column[0] = 0
    found.item_key, found.item_history = "item_id", "item_seq"
    return found


def rows(count: int, items: int = ITEMS) -> dict[str, Tensor]:
    """A batch: histories of all lengths, left-padded."""
    generator = torch.Generator().manual_seed(1)

    def draw(high: int, *shape: int) -> Tensor:
        return torch.randint(1, high, shape, generator=generator, dtype=torch.int32)

    history = draw(items, count, LENGTH)
    empty = torch.randint(0, LENGTH, (count, 1), generator=generator)
    history[torch.arange(LENGTH) < empty] = 0
    batch = {name: draw(LEVELS, count) for name in ("likes_level", "views_level")}
    batch |= {"item_id": draw(items, count), "item_seq": history, "label": (draw(3, count) - 1).float()}
    return {name: column.to(device()) for name, column in batch.items()}


def qin(embedding_dim: int, items: int = ITEMS) -> BaseModel:
    seed_everything(1)
    found = experiment(embedding_dim)
    gpu = 0 if device().type == "cuda" else -1
    model = build_model(found, feature_map(embedding_dim, items), gpu, Path("unused"))
    replace_optimizer(model, found.fit)
    return model


class QINReference(nn.Module):
    """The equations of the paper and the released code's order of operations, one operator each."""

    def __init__(self, model: BaseModel):
        super().__init__()
        tables = model.embedding_layer.embedding_layer
        self.levels = nn.ModuleList(tables.embedding_layers[n] for n in ("likes_level", "views_level"))
        self.ids, self.tags = tables.embedding_layers["item_id"], tables.embedding_layers["item_tags"]
        self.vectors = tables.feature_encoders["item_emb_d128"]
        self.register_buffer("item_tags", model.items_item_tags.long())
        self.register_buffer("item_vectors", model.items_item_emb_d128)
        attention, network = model.attention, model.network
        self.projections = nn.ModuleList((attention.W_q, attention.W_k, attention.W_v, attention.W_o))
        self.linears = nn.ModuleList(layer.linear for layer in network.layers)
        self.norms, self.activations, self.fc = network.norms, network.activations, model.fc
        self.rows = network.layers[0].num_rows
        self.dropout = nn.Dropout(network.dropout.p)

    def items(self, ids: Tensor) -> Tensor:
        """(...) -> (..., D): id, mean of the tags, projected vector."""
        tags = self.item_tags[ids]
        real = (tags != 0).unsqueeze(-1)
        mean = (self.tags(tags) * real).sum(-2) / real.sum(-2).clamp_min(1)
        return torch.cat([self.ids(ids), mean, self.vectors(self.item_vectors[ids])], dim=-1)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        history, target_id = batch["item_seq"].long(), batch["item_id"].long()
        target, sequence = self.items(target_id), self.items(history)
        query, key, value, output = self.projections
        q, k, v = query(target).unsqueeze(1), key(sequence), value(sequence)
        scores = (q * k).sum(-1) * k.shape[-1] ** -0.5 * (history != 0)
        pooled = output((torch.relu(scores).unsqueeze(-1) * v).sum(1)) + target
        levels = [batch["likes_level"].long(), batch["views_level"].long()]
        context = [table(level) for table, level in zip(self.levels, levels, strict=True)]
        x = torch.cat([*context, target, pooled], dim=1)
        for linear, norm, activation in zip(self.linears, self.norms, self.activations, strict=True):
            h = self.dropout(linear(x)).view(len(x), self.rows, -1)
            x = x + self.dropout(activation(norm((x.unsqueeze(1) * h).sum(1))))
        return torch.sigmoid(self.fc(x))

    def step(self, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor], l2: float) -> float:
        optimizer.zero_grad()
        tables = [*self.levels.parameters(), self.ids.weight, self.tags.weight, self.vectors.weight]
        penalty = sum(l2 / 2 * torch.norm(table, 2) ** 2 for table in tables)
        loss = F.binary_cross_entropy(self(batch), batch["label"][:, None]) + penalty
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 10.0)
        optimizer.step()
        return loss.item()


def score_ours(count: int) -> Action:
    scorer, batch = qin(128).eval().scorer(), rows(count)
    return torch.inference_mode()(lambda: scorer(batch))


def score_reference(count: int) -> Action:
    model, batch = QINReference(qin(128)).eval(), rows(count)
    return torch.inference_mode()(lambda: model(batch))


def step_ours(count: int) -> Action:
    keep_freed_memory()
    model, batch = qin(32), rows(count)
    model.train()
    step = TrainStep(model, experiment(32).fit)
    return lambda: step([batch])


def step_reference(count: int) -> Action:
    found = experiment(32)
    model, batch = QINReference(qin(32)).train(), rows(count)
    optimizer = torch.optim.Adam(model.parameters(), lr=found.fit.learning_rate)
    return lambda: model.step(optimizer, batch, found.model_params["embedding_regularizer"])


WORK = {
    "scoring 1 row, embedding 128 (D 1024, L4 M4, S 64)": (score_reference, score_ours, 1),
    "scoring 100 rows": (score_reference, score_ours, 100),
    "scoring 1,000 rows": (score_reference, score_ours, 1000),
    "training step, embedding 32, 4,096 rows": (step_reference, step_ours, 4096),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    lines = []
    for title, (theirs, mine, count) in WORK.items():
        sides = {"reference": partial(theirs, count), "ours": partial(mine, count)}
        found = measure(sides, args.turns)
        ratio = f"{found['reference'].median / found['ours'].median:.2f}"
        lines.append([title, *(found[name].shown(1, 1e3) for name in sides), ratio])
    header = ["QIN", "reference, ms", "ours, ms", "times faster"]
    print(f"{hardware()}\n\n{markdown(header, lines)}\n\n{terms(__doc__)}")


if __name__ == "__main__":
    main()

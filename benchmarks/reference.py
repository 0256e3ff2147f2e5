"""QNN-alpha written down as the paper prints it: what the fast paths are measured against.

Every operator of equations 8 to 11 is one operator of PyTorch: two full passes (embeddings included),
the explicit (B, M, D) product, torch's batch norm and dropout, L2 through autograd, Adam and the clip of
FuxiCTR's train_step. H > 1 lays heads out as the released code does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from fuxictr.pytorch.layers import FeatureEmbedding, MaskedAveragePooling
from fuxictr.pytorch.models import BaseModel
from torch import Tensor, nn


class Layer(nn.Module):
    """X + sum_m X * dropout(relu(BN(W_m X + b_m))), (B, D) -> (B, D)."""

    def __init__(self, dim: int, rows: int, heads: int, fields: int, batch_norm: bool, dropout: float):
        super().__init__()
        self.dim, self.rows, self.heads, self.fields = dim, rows, heads, fields
        self.linear = nn.Linear(dim, rows * dim)
        self.bn = nn.BatchNorm1d(rows * dim) if batch_norm else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        h = self.dropout(torch.relu(self.bn(self.linear(x))))
        h = h.view(len(x), self.heads, self.rows, -1)
        by_head = x.view(len(x), self.fields, self.heads, -1).transpose(1, 2).flatten(2).unsqueeze(2)
        return x + (by_head * h).sum(dim=2).flatten(1)


class QNNalphaReference(nn.Module):
    """Embeddings, L layers with a dropout after each, one linear unit: ids (B, C) -> probability (B, 1).

    Args:
        vocabularies: ids of each field.
        params: the model's parameters.
        sequences: field -> its number S of ids in a row; any other has one. Their mean is the field's vector.
    """

    def __init__(self, vocabularies: dict[str, int], params: dict, sequences: dict[str, int]):
        super().__init__()
        fields, dim = len(vocabularies), params["embedding_dim"]
        width, rate = fields * dim, params["net_dropout"]
        heads = params["num_heads"]
        self.l2 = params["embedding_regularizer"]
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, dim, padding_idx=0) for size in vocabularies.values()
        )
        self.lengths = [sequences.get(name, 0) for name in vocabularies]
        self.pooling = MaskedAveragePooling()
        self.layers = nn.ModuleList(
            Layer(width, params["num_row"], heads, fields, params["batch_norm"], rate)
            for _ in range(params["num_layers"])
        )
        self.dropout = nn.Dropout(rate)
        self.fc = nn.Linear(width, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = self.dropout(layer(x))
        return torch.sigmoid(self.fc(x))

    def embed(self, ids: Tensor) -> Tensor:
        """(B, D)."""
        parts, at = [], 0
        for table, length in zip(self.embeddings, self.lengths, strict=True):
            parts.append(self.pooling(table(ids[:, at : at + length])) if length else table(ids[:, at]))
            at += length or 1
        return torch.cat(parts, dim=1)

    def loss(self, ids: Tensor, y: Tensor) -> Tensor:
        """The self-ensemble loss and the L2 term."""
        p1, p2 = self(ids), self(ids)
        mean = (p1 + p2) / 2
        bce = F.binary_cross_entropy
        consistency = bce(p1, mean.detach()) + bce(p2, mean.detach())
        l2 = sum(self.l2 / 2 * torch.norm(table.weight, 2) ** 2 for table in self.embeddings)
        return bce(mean, y) + consistency + l2

    def step(self, optimizer: torch.optim.Optimizer, ids: Tensor, y: Tensor) -> float:
        """One training step of the published code, which asks for the loss at once."""
        optimizer.zero_grad()
        loss = self.loss(ids, y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters(), 10.0)
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def load_from(self, model: BaseModel) -> None:
        """The weights of a QNNalpha of this package."""
        tables = model.embedding_layer.embedding_layer.embedding_layers
        for mine, theirs in zip(self.embeddings, tables.values(), strict=True):
            mine.weight.copy_(theirs.weight)
        for mine, theirs in zip(self.layers, model.network.layers, strict=True):
            mine.linear.load_state_dict(theirs.linear.state_dict())
            if theirs.bn is not None:
                mine.bn.load_state_dict(theirs.bn.state_dict())
        self.fc.load_state_dict(model.fc.state_dict())


class PlainQNNalpha(BaseModel):
    """QNNalphaReference as a FuxiCTR model, for FuxiCTR's own fit and loader.

    Args:
        feature_map: FuxiCTR's; the rest as in the model zoo's configs.
    """

    def __init__(self, feature_map, learning_rate=1e-3, embedding_dim=16, **params):
        super().__init__(feature_map, model_id="PlainQNNalpha", **params)
        rate, fields = params["net_dropout"], feature_map.num_fields
        width = fields * embedding_dim
        self.embedding_layer = FeatureEmbedding(feature_map, embedding_dim)
        self.layers = nn.ModuleList(
            Layer(width, params["num_row"], params["num_heads"], fields, params["batch_norm"], rate)
            for _ in range(params["num_layers"])
        )
        self.dropout = nn.Dropout(rate)
        self.fc = nn.Linear(width, 1)
        self.compile("adam", "binary_crossentropy", learning_rate)
        self.reset_parameters()
        self.model_to_device()

    def forward(self, inputs):
        X = self.get_inputs(inputs)
        if not self.training:
            return {"y_pred": self.once(X)}
        p1, p2 = self.once(X), self.once(X)
        return {"y_pred": (p1 + p2) / 2, "p1": p1, "p2": p2}

    def once(self, X) -> Tensor:
        """One full pass, embeddings included."""
        x = self.embedding_layer(X, flatten_emb=True)
        for layer in self.layers:
            x = self.dropout(layer(x))
        return self.output_activation(self.fc(x))

    def add_loss(self, return_dict, y_true):
        mean, bce = return_dict["y_pred"], F.binary_cross_entropy
        consistency = sum(bce(return_dict[name], mean.detach()) for name in ("p1", "p2"))
        return bce(mean, y_true) + consistency

"""Attention of a target item over a history of items, as in QIN.

Source: Li et al., "Quadratic Interest Network for Multimodal Click-Through Rate Prediction", WWW 2025
(arXiv 2504.17699), and the code released with it. With softmax it is the usual scaled dot product.

B batch, H heads, S positions of a history, D width of an item, A attention width, U rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuxictr_qnn.errors import unknown
from fuxictr_qnn.layers.dropout import Dropout
from fuxictr_qnn.layers.history import Sequence, TableRows, rows_of


def _softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the real items; all zero where there are none."""
    weights = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0)  # an empty history's softmax is NaN everywhere


# name -> weights of a history's items from scores and mask (True = real item), (B, H, S) both
ATTENTIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "relu": lambda scores, mask: F.relu(scores * mask),
    "softmax": _softmax,
    "relu2": lambda scores, mask: F.relu(scores * mask).square(),
    "silu": lambda scores, mask: F.silu(scores * mask),
}


class AdaptiveSparseTargetAttention(nn.Module):
    r"""Target attention whose weights are ReLUs: items with a negative score drop out entirely.

    .. math:: o = W_o \Big\Vert_h \sum_s a^h_s v^h_s + t, \qquad
        a^h_s = \mathrm{ReLU}\big(q^h \cdot k^h_s / \sqrt{A/H}\big)

    with :math:`q = W_q t`, :math:`k_s = W_k x_s`, :math:`v_s = W_v x_s`. The weights do not sum to
    1: the scale of o grows with the history unless `normalize` divides them by its length.

    The fast path computes the same without projecting a history's items:
    :math:`q \cdot W_k x_s = (W_k^\top W_q t) \cdot x_s` and
    :math:`\sum_s a_s W_v x_s = W_v \sum_s a_s x_s`.

    Args:
        input_dim: D.
        attention_dim: A.
        num_heads: H; must divide A.
        activation: 'relu'; or 'softmax', 'relu2' (squared) and 'silu', which the paper compares.
        dropout: probability of dropping a weight a_s.
        normalize: divide the weights by the number of items in the history.
        output_bias: a bias in W_o, as in the authors' later code.
        fast: False projects every item of every history.

    Shapes: target (B, D), sequence (B, S, D), mask (B, S) with 1 = real item -> (B, D). A history
    without items gives the target (and the bias).

    Raises:
        ValueError: unknown activation, heads that do not divide, a dropout outside [0, 1).
    """

    def __init__(
        self,
        input_dim: int,
        attention_dim: int,
        num_heads: int = 1,
        activation: str = "relu",
        dropout: float = 0.0,
        normalize: bool = False,
        output_bias: bool = False,
        fast: bool = True,
    ):
        super().__init__()
        activation = str(activation).lower()
        _check(input_dim, attention_dim, num_heads, activation, dropout)
        self.num_heads, self.activation, self.normalize = num_heads, activation, normalize
        self.scale = (attention_dim // num_heads) ** -0.5
        self.fast = fast
        self.W_q = nn.Linear(input_dim, attention_dim, bias=False)
        self.W_k = nn.Linear(input_dim, attention_dim, bias=False)
        self.W_v = nn.Linear(input_dim, attention_dim, bias=False)
        self.W_o = nn.Linear(attention_dim, input_dim, bias=output_bias)
        self.dropout = Dropout(dropout) if fast else nn.Dropout(dropout)

    def forward(self, target_BD: Tensor, sequence_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """(B, D), (B, S, D), (B, S) -> (B, D)."""
        if not self.fast:
            return self._plain(target_BD, sequence_BSD, mask_BS.bool())
        return self._folded(target_BD, Sequence(sequence_BSD), mask_BS.bool())

    def from_table(self, target_BD: Tensor, table_UD: Tensor, index_BS: Tensor, mask_BS: Tensor) -> Tensor:
        """The same for rows of a table: (B, D), (U, D), (B, S), (B, S) -> (B, D)."""
        if not self.fast:
            return self._plain(target_BD, table_UD[index_BS.long()], mask_BS.bool())
        return self._folded(target_BD, rows_of(table_UD, index_BS), mask_BS.bool())

    def _plain(self, target_BD: Tensor, sequence_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        q_BHa = self.W_q(target_BD).unflatten(-1, (self.num_heads, -1))
        k_BSHa = self.W_k(sequence_BSD).unflatten(-1, (self.num_heads, -1))
        v_BSHa = self.W_v(sequence_BSD).unflatten(-1, (self.num_heads, -1))
        weights_BHS = self._weights(torch.einsum("bha,bsha->bhs", q_BHa, k_BSHa), mask_BS)
        pooled_BHa = torch.einsum("bhs,bsha->bha", weights_BHS, v_BSHa)
        return self.W_o(pooled_BHa.flatten(1)) + target_BD

    def _folded(self, target_BD: Tensor, history: Sequence | TableRows, mask_BS: Tensor) -> Tensor:
        q_BHa = self.W_q(target_BD).unflatten(-1, (self.num_heads, -1))
        k_HaD = self.W_k.weight.unflatten(0, (self.num_heads, -1))
        v_HaD = self.W_v.weight.unflatten(0, (self.num_heads, -1))
        weights_BHS = self._weights(history.scores(torch.einsum("bha,had->bhd", q_BHa, k_HaD)), mask_BS)
        pooled_BHa = torch.einsum("bhd,had->bha", history.weighted_sum(weights_BHS), v_HaD)
        return self.W_o(pooled_BHa.flatten(1)) + target_BD

    def _weights(self, scores_BHS: Tensor, mask_BS: Tensor) -> Tensor:
        weights_BHS = ATTENTIONS[self.activation](scores_BHS * self.scale, mask_BS.unsqueeze(1))
        if self.normalize:
            weights_BHS = weights_BHS / mask_BS.sum(1).clamp_min(1).view(-1, 1, 1)
        return self.dropout(weights_BHS)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, activation={self.activation!r}, normalize={self.normalize}"


class MeanPooling(nn.Module):
    """The mean of a history's items, whatever the target: (1/n) sum_s x_s, zero for an empty history.

    Takes the place of an attention in an ablation; no parameters.

    Shapes: target (B, D), sequence (B, S, D), mask (B, S) with 1 = real item -> (B, D).
    """

    def forward(self, target_BD: Tensor, sequence_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """(B, D), (B, S, D), (B, S) -> (B, D)."""
        return self._mean(Sequence(sequence_BSD), mask_BS, sequence_BSD.dtype)

    def from_table(self, target_BD: Tensor, table_UD: Tensor, index_BS: Tensor, mask_BS: Tensor) -> Tensor:
        """The same for rows of a table: (B, D), (U, D), (B, S), (B, S) -> (B, D)."""
        return self._mean(rows_of(table_UD, index_BS), mask_BS, table_UD.dtype)

    def _mean(self, history: Sequence | TableRows, mask_BS: Tensor, dtype: torch.dtype) -> Tensor:
        weights_BS = mask_BS.to(dtype) / mask_BS.sum(1, keepdim=True).clamp_min(1)
        return history.weighted_sum(weights_BS.unsqueeze(1)).squeeze(1)


def _check(input_dim: int, attention_dim: int, num_heads: int, activation: str, dropout: float) -> None:
    sizes = {"input_dim": input_dim, "attention_dim": attention_dim, "num_heads": num_heads}
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if attention_dim % num_heads:
        raise ValueError(f"num_heads={num_heads} does not divide attention_dim={attention_dim}")
    if activation not in ATTENTIONS:
        raise ValueError(unknown("attention", activation, ATTENTIONS))
    if not 0 <= dropout < 1:
        raise ValueError(f"the attention dropout must be in [0, 1), got {dropout}")

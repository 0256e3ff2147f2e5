"""A training step of three T1 layers (x^T W x + V x) beside the same with torch.nn.Bilinear.

    python -m benchmarks.bilinear [--turns 3]

100 dimensions and 10,000 rows, as the paper's Criteo runs have after their compression.

Only ours has the allocator setting of `fuxictr run` (keep_freed_memory) and fused Adam. A side whose first
call takes 20 s is that one call, not warmed up: torch.nn.Bilinear on two cores.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.sides import Action, hardware, measure, terms
from benchmarks.train_step import device
from fuxictr_qnn.layers import QuadraticNeuron
from fuxictr_qnn.reporting.table import markdown
from fuxictr_qnn.training.device import keep_freed_memory

WIDTH, LAYERS, ROWS = 100, 3, 10_000


class PlainT1(nn.Module):
    """x -> Bilinear(x, x) + Linear(x), (B, D) -> (B, D)."""

    def __init__(self, width: int):
        super().__init__()
        self.form, self.linear = nn.Bilinear(width, width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.form(x, x) + self.linear(x)


def step(fast: bool) -> Action:
    if fast:
        keep_freed_memory()
    torch.manual_seed(1)
    layers = [QuadraticNeuron("T1", WIDTH) if fast else PlainT1(WIDTH) for _ in range(LAYERS)]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 1)).to(device())
    optimizer = torch.optim.Adam(model.parameters(), fused=fast)
    x = 0.1 * torch.randn(ROWS, WIDTH, device=device())
    y = torch.randint(2, (ROWS, 1), device=device()).float()

    def action() -> None:
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(model(x), y).backward()
        optimizer.step()

    return action


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    found = measure({"torch.nn.Bilinear": partial(step, False), "ours": partial(step, True)}, args.turns)
    rows = [
        [name, times.shown(2), f"{found['torch.nn.Bilinear'].median / times.median:.1f}"]
        for name, times in found.items()
    ]
    header = ["T1, 3 layers, 10,000 rows", "s", "times faster"]
    print(f"{hardware()}\n\n{markdown(header, rows)}\n\n{terms(__doc__)}")


if __name__ == "__main__":
    main()

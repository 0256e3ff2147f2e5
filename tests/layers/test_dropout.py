"""Dropout with cheap masks, in place of torch's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fuxictr_qnn.layers.dropout import Dropout, draw_masks_cheaply


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_masks_keep_their_share_and_the_mean(p, dtype):
    torch.manual_seed(1)
    x = torch.ones(400, 1000, dtype=dtype, requires_grad=True)
    y = Dropout(p)(x)
    kept = y != 0
    n = kept.numel()
    assert abs(kept.double().mean() - (1 - p)) < 5 * (p * (1 - p) / n) ** 0.5
    scale, rounding = torch.full_like(y[kept], 1 / (1 - p)), 1e-2 if dtype == torch.bfloat16 else 1e-3
    torch.testing.assert_close(y[kept].detach(), scale, rtol=rounding, atol=0)
    y.sum().backward()
    assert torch.equal(x.grad, y)  # with ones, gradient and output are the same mask over P(mask)


def test_neighbours_are_independent():
    torch.manual_seed(2)
    kept = (Dropout(0.3)(torch.ones(300, 1000)) != 0).double() - 0.7
    bound = 5 * 0.3 * 0.7 / kept.numel() ** 0.5
    for shift in (1, 2, 3, 4, 8):
        assert abs((kept[:, shift:] * kept[:, :-shift]).mean()) < bound
        assert abs((kept[shift:] * kept[:-shift]).mean()) < bound


class TestReplacing:
    def model(self) -> nn.Module:
        inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.2), nn.Dropout(1.0), nn.Dropout1d(0.2))
        return nn.ModuleDict({"inner": inner, "outer": nn.Dropout(0.5)})

    def test_plain_dropouts_are_replaced_wherever_they_are(self):
        model = self.model()
        before = list(model.state_dict())
        draw_masks_cheaply(model)
        kinds = [type(module) for module in model["inner"]]
        assert kinds == [nn.Linear, Dropout, nn.Dropout, nn.Dropout1d]  # p = 1 drops all: no draw is needed
        assert type(model["outer"]) is Dropout and model["outer"].p == 0.5
        assert list(model.state_dict()) == before

    def test_the_mode_stays(self):
        model = self.model().eval()
        draw_masks_cheaply(model)
        x = torch.randn(3, 4)
        assert torch.equal(model["outer"](x), x)
        model.train()
        assert (model["outer"](torch.ones(1000)) == 0).any()

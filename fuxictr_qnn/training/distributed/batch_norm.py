"""Batch norm whose statistics are those of the whole batch, of which each worker has a share.

torch's SyncBatchNorm does the same on GPUs only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

if TYPE_CHECKING:
    from fuxictr_qnn.training.distributed.group import WorkerGroup


class _WholeBatch(torch.autograd.Function):
    r"""Mean and variance of a batch from those of its shares, and the number of its rows.

    .. math:: n = \sum_r n_r, \quad \mu = \sum_r \frac{n_r}{n} \mu_r, \quad
              \sigma^2 = \sum_r \frac{n_r}{n} (\sigma_r^2 + (\mu_r - \mu)^2)

    Forward gathers :math:`(n_r, \mu_r, \sigma_r^2)`, backward sums the gradients of mu and sigma^2 over the
    workers: each has the loss of its own rows only, but every row depends on the statistics. Both are one
    message of twice the width. Every worker computes the same sums in the same order.
    """

    @staticmethod
    def forward(ctx, mean: Tensor, var: Tensor, rows: float) -> tuple[Tensor, Tensor, Tensor]:
        own = torch.cat([mean.new_full((1,), rows), mean, var])
        found = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(found, own)
        count, means, variances = torch.stack(found).split([1, len(mean), len(var)], dim=1)
        rows = count.sum()
        share = count / rows
        whole = (share * means).sum(0)
        var = (share * (variances + (means - whole) ** 2)).sum(0)
        ctx.save_for_backward(share[dist.get_rank()], mean - whole)
        ctx.mark_non_differentiable(rows)
        return whole, var, rows

    @staticmethod
    def backward(ctx, grad_mean: Tensor, grad_var: Tensor, _: Tensor) -> tuple[Tensor, Tensor, None]:
        share, distance = ctx.saved_tensors
        both = torch.stack([grad_mean, grad_var])
        dist.all_reduce(both)
        grad_mean, grad_var = both
        return share * (grad_mean + 2 * distance * grad_var), share * grad_var, None


class BatchNormOverWorkers(nn.BatchNorm1d):
    """nn.BatchNorm1d over the rows of all workers; weights, statistics and evaluation are those of one.

    Shapes: (B, D) or (B, D, L) -> the same.
    """

    workers: WorkerGroup

    def over_workers(self, mean: Tensor, var: Tensor, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and (biased) variance of this worker's rows -> of all rows, and how many those are."""
        return _WholeBatch.apply(mean, var, float(rows * self.workers.present))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        self._check_input_dim(x)
        places = [at for at in range(x.ndim) if at != 1]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # as torch's keeps statistics of bfloat16
        own = torch.var_mean(wide, places, correction=0)
        mean, var, rows = self.over_workers(own[1], own[0], x.numel() // x.shape[1])
        self._move(mean.detach(), var.detach() * (rows / (rows - 1).clamp(min=1)))
        scale = torch.rsqrt(var + self.eps)
        if self.affine:
            scale = scale * self.weight
        shift = -mean * scale if not self.affine else torch.addcmul(self.bias, mean, scale, value=-1)
        shape = (-1, *[1] * (x.ndim - 2))
        return torch.addcmul(shift.view(shape), wide, scale.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _move(self, mean: Tensor, var: Tensor) -> None:
        """Move the running statistics towards those of a batch."""
        if self.running_mean is None:
            return
        self.num_batches_tracked.add_(1)
        momentum = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(var.to(self.running_var.dtype), momentum)


def norm_over_workers(model: nn.Module, workers: WorkerGroup) -> None:
    """Make every nn.BatchNorm1d of the model a BatchNormOverWorkers, with the parameters it has."""
    for module in model.modules():
        if type(module) is nn.BatchNorm1d:
            module.__class__ = BatchNormOverWorkers
            module.workers = workers

import pytest
import torch
from torch import nn

from pyrodgm.posteriors import GaussianPosterior


def test_net_gives_means_then_log_variances_cut_off():
    q = GaussianPosterior(nn.Identity(), log_variance_range=(-2.0, 1.0))(torch.tensor([[0.5, -3.0, -9.0, 0.4]]))
    assert torch.equal(q.mean, torch.tensor([[0.5, -3.0]]))
    assert torch.allclose(q.variance, torch.tensor([[-2.0, 0.4]]).exp())
    assert (q.batch_shape, q.event_shape) == ((1,), (2,))


def test_bounds_must_increase():
    with pytest.raises(ValueError, match="log_variance_range"):
        GaussianPosterior(nn.Identity(), (1.0, 1.0))

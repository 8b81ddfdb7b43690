"""Networks of several inputs against the same computation on concatenated ones."""

import pytest
import torch
from torch import nn

from pyrodgm.nn import Dense, DenseJoint, GatedDense, GatedJoint, Joint, ResidualDense, joint_mlp, mlp


def test_gated_joint_is_a_gated_layer_of_the_concatenation():
    joint, single = GatedJoint([4, 3, 2], 5), GatedDense(9, 5)
    with torch.no_grad():
        single.linear.weight.copy_(torch.cat([f.weight for f in joint.linears], 1))
        single.linear.bias.copy_(joint.linears[0].bias.normal_())
    a, b, c = torch.randn(6, 4), torch.randn(7, 6, 3), torch.randn(2)
    together = torch.cat([a.expand(7, 6, 4), b, c.expand(7, 6, 2)], -1)
    assert torch.allclose(joint(a, b, c), single(together))


def test_gated_joint_starts_as_a_layer_of_the_concatenation_would():
    weights = torch.cat([f.weight for f in GatedJoint([300, 500], 100).linears], 1)
    assert weights.std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.01)


def test_joint_runs_branches_then_join_then_head():
    branches, join, head = [nn.Identity(), GatedDense(3, 6)], GatedJoint([4, 6], 5), mlp(5, [], 2)
    x, z = torch.randn(8, 4), torch.randn(3, 8, 3)
    torch.testing.assert_close(Joint(branches, join, head)(x, z), head(join(x, branches[1](z))))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="in_features must name"):
        GatedJoint([], 3)
    with pytest.raises(ValueError, match="expected 2 inputs, one a branch, got 1"):
        Joint([nn.Identity(), nn.Identity()], GatedJoint([2, 2], 2), nn.Identity())(torch.zeros(2))


def test_dense_joint_is_a_dense_layer_of_the_concatenation():
    joint, single = DenseJoint([4, 3], 5, nn.Tanh), Dense(7, 5, nn.Tanh)
    with torch.no_grad():
        single.linear.weight.copy_(torch.cat([f.weight for f in joint.linears], 1))
        single.linear.bias.copy_(joint.linears[0].bias.normal_())
    a, b = torch.randn(6, 4), torch.randn(7, 1, 3)
    together = torch.cat([a.expand(7, 6, 4), b.expand(7, 6, 3)], -1)
    assert torch.allclose(joint(a, b), single(together))


def test_joint_mlp_is_a_dense_joint_and_a_perceptron():
    net = joint_mlp([4, 3], [5, 5], 2, layer=ResidualDense)
    a, b = torch.randn(6, 4), torch.randn(7, 1, 3)
    hidden = net.join(a, b)
    hidden = hidden + torch.relu(hidden @ net.head[0].linear.weight.T + net.head[0].linear.bias)
    assert torch.allclose(net(a, b), hidden @ net.head[1].weight.T + net.head[1].bias)
    with pytest.raises(ValueError, match="hidden must name the size of at least one hidden layer"):
        joint_mlp([4, 3], [], 2)

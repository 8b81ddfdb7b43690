"""Graphs of evaluation on inputs of any layout."""

import pytest
import torch
from torch import nn

from pyrodgm.infer.evaluation.graphs import Graphs


@pytest.mark.parametrize("first", ["contiguous", "transposed"])
def test_a_graph_takes_inputs_of_every_layout(first):
    net = nn.Linear(2, 3).requires_grad_(False)

    def program(x, values):
        return {"z": net(values["z"]) + x[:, :1], "gradient": torch.func.grad(lambda z: net(z).sum())(values["z"])}

    x, z = torch.randn(5, 4), torch.randn(7, 5, 2)
    layouts = {
        "contiguous": (x, z),
        "transposed": (x.t().contiguous().t(), z.transpose(0, 1).contiguous().transpose(0, 1)),
    }
    graphs = Graphs("traced")
    for x, z in (layouts[first], *layouts.values()):
        found, expected = graphs.run("one", program, (x, {"z": z})), program(x, {"z": z})
        assert all(torch.allclose(found[name], expected[name]) for name in expected)
    assert len(graphs.made) == 1

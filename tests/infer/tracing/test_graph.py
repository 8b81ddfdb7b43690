import gc
import linecache
from threading import Thread

import pyro
import pytest
import torch
from torch._higher_order_ops.scan import scan
from torch.fx.experimental.proxy_tensor import make_fx

from pyrodgm.infer.tracing.graph import flatten, trace


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_branch_is_traced(compiled):
    def branch(x):
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    x = torch.ones(3)
    with pyro.validation_enabled(False):  # torch.cond turns the checks of all distributions off
        run = flatten(branch, (x,), compiled)
    torch.testing.assert_close(run(x), x.sin())
    torch.testing.assert_close(run(-x), x.cos())


def test_a_scan_is_traced():
    def running_sum(x):
        return scan(lambda carry, now: (carry + now, carry + now), torch.zeros(()), x)[1]

    with pyro.validation_enabled(False):
        run = flatten(running_sum, (torch.ones(3),))
    torch.testing.assert_close(run(torch.tensor([1.0, 2.0, 4.0])), torch.tensor([1.0, 3.0, 7.0]))


def test_no_source_of_a_graph_stays_when_it_is_gone():
    def sources():
        gc.collect()
        return sum(name.startswith("<eval_with_key>") for name in linecache.cache)

    before = sources()
    for _ in range(3):
        graph, _ = trace(lambda x: (x * x).sin().sum(), (torch.ones(3),))
        graph(torch.ones(3))
        assert sources() == before + 1
    del graph
    assert sources() == before


def test_other_threads_get_their_descriptions():
    found = {}

    def other():
        graph = make_fx(torch.sin)(torch.ones(3))
        found["shapes"] = [node.meta["val"].shape for node in graph.graph.nodes if node.op != "output"]

    def program(x):
        thread = Thread(target=other)
        thread.start()
        thread.join()
        return x.cos()

    flatten(program, (torch.ones(2),))
    assert found["shapes"] == [(3,), (3,)]
    other()
    assert found["shapes"] == [(3,), (3,)]

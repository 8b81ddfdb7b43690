import torch

from pyrodgm.infer import AdamNormGrad


def test_each_gradient_is_divided_by_its_norm_before_adam():
    torch.manual_seed(0)
    ours = [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(4))]
    theirs = [torch.nn.Parameter(p.detach().clone()) for p in ours]
    idle = torch.nn.Parameter(torch.ones(2))
    optimizer, adam = AdamNormGrad([*ours, idle], lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for _ in range(3):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = 100 * torch.randn_like(p)
            q.grad = p.grad / (p.grad.norm() + 1e-7)
        optimizer.step()
        adam.step()
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p, q)
    assert torch.equal(idle, torch.ones(2))


def test_closure_is_called_and_its_loss_returned():
    w = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = AdamNormGrad([w], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    assert w.item() < 3.0

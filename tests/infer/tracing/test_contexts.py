import pytest
import torch

from pyrodgm.infer.tracing.contexts import matmul_precision


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_precision_of_products_holds_inside_only(precision):
    before = torch.get_float32_matmul_precision()
    with matmul_precision(precision):
        assert torch.get_float32_matmul_precision() == precision
    assert torch.get_float32_matmul_precision() == before


def test_medium_precision_rounds_to_bfloat16_or_not_at_all():
    torch.manual_seed(0)
    left, right = torch.randn(200, 300, dtype=torch.float32), torch.randn(300, 400, dtype=torch.float32)
    exact = left.double() @ right.double()
    with matmul_precision("medium"):
        medium = left @ right
    highest = left @ right
    scale = left.double().norm(dim=1, keepdim=True) * right.double().norm(dim=0)
    assert ((highest - exact) / scale).abs().max() < 1e-6
    assert ((medium - exact) / scale).abs().max() < 4e-3

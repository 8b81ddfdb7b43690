"""Nearest-neighbour comparisons on sets whose answers are known."""

import pytest
import torch

from pyrodgm.infer import PrecisionRecall, TwoSample, knn_two_sample, precision_recall


@pytest.mark.parametrize("k", [1, 5])
def test_equal_distributions_give_a_half_and_disjoint_ones_one(k):
    a, b = torch.randn(1000, 4), torch.randn(1000, 4)
    found = knn_two_sample(a, b, k)
    assert abs(found.accuracy - 0.5) < 5 * found.standard_error
    assert knn_two_sample(a, b + 50.0, k) == TwoSample(1.0, 1.0, 1000)


def test_neighbours_vote():
    """By a sort of all distances."""
    points, labels = torch.cat([torch.randn(60, 2), torch.randn(60, 2) + 0.7]), torch.arange(120) >= 60
    order = torch.cdist(points, points).fill_diagonal_(torch.inf).argsort(1)
    for k in (1, 3, 7):
        right = (labels[order[:, :k]].sum(1) > k / 2) == labels
        found = knn_two_sample(points[:60], points[60:], k)
        assert (found.real, found.fake) == pytest.approx(
            (right[:60].double().mean().item(), right[60:].double().mean().item())
        )


def test_copies_and_ties():
    a = torch.rand(50, 9)
    assert knn_two_sample(a, a.clone()).accuracy == 0.0  # each datum's neighbour is its copy
    same = torch.ones(20, 3)
    assert knn_two_sample(same, same).accuracy == 0.5
    line = torch.tensor([[0.0], [2.0], [4.0]])
    assert knn_two_sample(line, line + 2.0).accuracy == pytest.approx((0.5 + 0 + 0 + 0 + 0 + 0.5) / 6, abs=0.2)


def test_a_collapsed_generator_shows_in_the_shares():
    real = torch.randn(500, 2)
    found = knn_two_sample(real, 0.05 * torch.randn(500, 2))
    assert found.fake > 0.95
    assert precision_recall(real, 0.05 * torch.randn(500, 2)).precision > 0.95
    assert precision_recall(real, 0.05 * torch.randn(500, 2)).recall < 0.2


def test_precision_and_recall_of_points_on_a_line():
    """Balls of radius 1 around whole numbers (k = 1); by hand."""
    real = torch.arange(6.0).unsqueeze(1)
    fake = torch.tensor([[0.5], [1.5], [20.0], [21.0]])
    assert precision_recall(real, fake, 1) == PrecisionRecall(0.5, 3 / 6)  # 0, 1 and 2 lie within 1 of 0.5 and 1.5
    assert precision_recall(real, real) == PrecisionRecall(1.0, 1.0)
    assert precision_recall(real, real + 100.0) == PrecisionRecall(0.0, 0.0)


def test_of_missing_modes_recall_says_how_many():
    centres = torch.tensor([-30.0, -10.0, 10.0, 30.0])
    real = (centres[:, None] + torch.randn(4, 200)).reshape(-1, 1)
    found = precision_recall(real, 10.0 + torch.randn(800, 1))
    assert found.recall == pytest.approx(0.25, abs=0.02)
    assert found.precision > 0.9


def test_distances_do_not_depend_on_blocks_shifts_or_dtype():
    a, b = torch.rand(1100, 3, dtype=torch.float32), torch.rand(1100, 3, dtype=torch.float32) ** 1.1
    whole = knn_two_sample(a, b)
    assert knn_two_sample(a.double(), b.double()) == whole
    assert knn_two_sample(16.0 * a.double() + 1024.0, 16.0 * b.double() + 1024.0) == whole
    assert knn_two_sample(a.reshape(1100, 1, 3), b.reshape(1100, 1, 3)) == whole


FAR = {
    "one outlier": lambda n: torch.cat([torch.full((1, 2), 1e7), torch.zeros(n - 1, 2)]),
    "two modes": lambda n: 1e6 * torch.randint(2, (n, 1)).expand(n, 2),
    "a feature of another unit": lambda n: torch.stack([torch.zeros(n), torch.full((n,), 1e9)], 1),
    "heavy tails": lambda n: torch.distributions.StudentT(0.3).sample((n, 1)).expand(n, 2).clamp(-1e9, 1e9),
}


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("name", FAR)
def test_neighbours_are_told_apart_however_far_other_data_are(name, k):
    """Against differences of all pairs."""
    torch.manual_seed(0)
    n = 150
    real, fake = torch.randn(n, 2).double() + FAR[name](n), 0.2 * torch.randn(n, 2).double() + FAR[name](n)
    both, labels = torch.cat([real, fake]), torch.arange(2 * n) < n
    distances = (both.unsqueeze(1) - both).square().sum(-1).fill_diagonal_(torch.inf)
    same = (labels[distances.topk(k, largest=False).indices] == labels.unsqueeze(1)).double().mean(1) > 0.5
    found = knn_two_sample(real, fake, k)
    assert (found.real, found.fake) == pytest.approx((same[:n].double().mean().item(), same[n:].double().mean().item()))

    def covered(points, centres):
        around = distances[centres][:, centres].kthvalue(k, 1).values
        return (distances[points][:, centres] <= around).any(1).double().mean().item()

    manifold = precision_recall(real, fake, k)
    assert (manifold.precision, manifold.recall) == pytest.approx((covered(~labels, labels), covered(labels, ~labels)))


def test_bad_input_is_named():
    a = torch.rand(10, 2)
    for call, message in (
        (lambda: knn_two_sample(a, a[:9]), "real and fake must be as many, got 10 and 9"),
        (lambda: knn_two_sample(a, a, 2), "k must be odd, got 2"),
        (lambda: knn_two_sample(a, torch.rand(10, 3)), "one event shape"),
        (lambda: precision_recall(a, a[:3]), "fake must hold at least 4 data for k = 3"),
        (lambda: precision_recall(a / 0, a), "real must be finite"),
        (lambda: precision_recall(a, a, 0), "k must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            call()

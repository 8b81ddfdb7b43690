import io
import math
import sys

import matplotlib
import matplotlib.image
import numpy as np
import pytest
import torch

from pyrodgm import plots

GREY, COLOUR = (1, 8, 6), (3, 4, 6)


def shown(figure):
    """The picture in a figure, ``[height, width, channels]``."""
    (image,) = figure.axes[0].images
    pixels = np.asarray(image.get_array())
    return pixels if pixels.ndim == 3 else pixels[..., None]


def tile(picture, top, left, image_shape):
    channels, height, width = image_shape
    part = picture[top : top + height, left : left + width]
    assert part.shape == (height, width, channels)
    return torch.from_numpy(part).movedim(-1, 0).flatten()


@pytest.mark.parametrize("image_shape", [GREY, COLOUR])
def test_grid_shows_every_image_in_reading_order(image_shape):
    _, height, width = image_shape
    images = torch.rand(7, math.prod(image_shape))
    picture = shown(plots.image_grid(images, image_shape, columns=3))
    assert picture.shape[:2] == (1 + 3 * (height + 1), 1 + 3 * (width + 1))
    for i, image in enumerate(images):
        row, column = divmod(i, 3)
        torch.testing.assert_close(tile(picture, 1 + row * (height + 1), 1 + column * (width + 1), image_shape), image)
    # no room but the two empty places and the gaps is left: all of it has one value
    covered = np.zeros(picture.shape[:2], dtype=bool)
    for i in range(7):
        top, left = 1 + i // 3 * (height + 1), 1 + i % 3 * (width + 1)
        covered[top : top + height, left : left + width] = True
    assert len(np.unique(picture[~covered])) == 1


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_are_no_colours_stand_side_by_side(channels):
    shape, count = (channels, 4, 3), 5
    images, others = torch.rand(2, count, channels * 12)

    def beside(images):
        return torch.cat(images.unflatten(1, shape).unbind(1), -1).flatten(1)

    one = (1, 4, 3 * channels)
    for draw in (
        lambda x, y, shape: plots.image_grid(x, shape),
        plots.reconstructions,
        lambda x, y, shape: plots.grown_samples(x, torch.stack([x, y], 1), shape),
        lambda x, y, shape: plots.side_by_side({"x": x, "y": y}, shape),
    ):
        expected = shown(draw(beside(images), beside(others), one))
        np.testing.assert_array_equal(shown(draw(images, others, shape)), expected)


def test_grid_takes_images_with_dimensions_of_their_own():
    images = torch.rand(4, *COLOUR)
    flat = shown(plots.image_grid(images.flatten(1), COLOUR))
    np.testing.assert_array_equal(shown(plots.image_grid(images, COLOUR)), flat)


@pytest.mark.parametrize(
    ("count", "image_shape", "columns"),
    [(100, (1, 8, 8), 10), (50, (1, 8, 8), 10), (1, (1, 8, 8), 1), (8, (1, 8, 2), 8)],
)
def test_default_grid_is_about_square_without_empty_places(count, image_shape, columns):
    picture = shown(plots.image_grid(torch.zeros(count, math.prod(image_shape)), image_shape))
    _, height, width = image_shape
    assert picture.shape[:2] == (1 + count // columns * (height + 1), 1 + columns * (width + 1))


@pytest.mark.parametrize("image_shape", [GREY, COLOUR])
@pytest.mark.parametrize("title", [None, "a title"])
def test_written_file_has_the_pixels_unblurred(image_shape, title):
    figure = plots.image_grid(torch.rand(12, math.prod(image_shape)), image_shape, title=title)
    picture = shown(figure)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    file.seek(0)
    written = matplotlib.image.imread(file)[..., :3]
    scale = written.shape[1] // picture.shape[1]
    assert scale > 5
    assert written.shape[1] == scale * picture.shape[1]
    body = written[-scale * picture.shape[0] :]
    assert (len(written) > len(body)) == (title is not None)
    for offset in (0, scale - 1):
        sampled = body[offset::scale, offset::scale]
        np.testing.assert_allclose(sampled, np.broadcast_to(picture, sampled.shape), atol=1 / 128)


def test_reconstructions_stand_at_the_right_of_their_originals():
    originals, reconstructed = torch.rand(2, 4, math.prod(GREY))
    picture = shown(plots.reconstructions(originals, reconstructed, GREY, columns=2))
    for i in range(4):
        top, left = 1 + i // 2 * 9, 1 + i % 2 * (6 + 1 + 6 + 3)
        torch.testing.assert_close(tile(picture, top, left, GREY), originals[i])
        torch.testing.assert_close(tile(picture, top, left + 7, GREY), reconstructed[i])


def test_grown_samples_stand_in_the_row_of_their_pseudo_input():
    pseudo_inputs, samples = torch.rand(3, math.prod(COLOUR)), torch.rand(3, 5, math.prod(COLOUR))
    picture = shown(plots.grown_samples(pseudo_inputs, samples, COLOUR))
    start = picture.shape[1] - 5 * 7
    assert start >= 1 + 6 + 1
    for k in range(3):
        torch.testing.assert_close(tile(picture, 1 + 5 * k, 1, COLOUR), pseudo_inputs[k])
        for n in range(5):
            torch.testing.assert_close(tile(picture, 1 + 5 * k, start + 7 * n, COLOUR), samples[k, n])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.image_grid(torch.zeros(2, 12), (0, 2, 3)), r"image_shape\[0\] must be at least 1, got 0"),
        (lambda: plots.image_grid(torch.zeros(2, 12), (4, 3)), "image_shape must be 3 whole numbers, got 2"),
        (lambda: plots.image_grid(torch.zeros(2, 13), (1, 3, 4)), r"images: .*\(1, 3, 4\), got \[2, 13\]"),
        (lambda: plots.image_grid(torch.zeros(0, 12), (1, 3, 4)), r"images: .* got \[0, 12\]"),
        (lambda: plots.image_grid(torch.full((2, 12), 1.5), (1, 3, 4)), r"images: expected values in \[0, 1\]"),
        (lambda: plots.image_grid(torch.full((2, 12), math.nan), (1, 3, 4)), r"images: expected values in \[0, 1\]"),
        (lambda: plots.image_grid(torch.zeros(2, 12), (1, 3, 4), columns=0), "columns must be at least 1, got 0"),
        (lambda: plots.reconstructions(torch.zeros(2, 12), torch.zeros(3, 12), (1, 3, 4)), "reconstructed: .* got 3"),
        (
            lambda: plots.grown_samples(torch.zeros(2, 12), torch.zeros(3, 5, 12), (1, 3, 4)),
            r"samples must have shape .* \[3, 5, 12\]",
        ),
        (lambda: plots.log_likelihood_histogram(torch.zeros(0)), "values: expected finite"),
        (lambda: plots.log_likelihood_histogram(torch.tensor([0.0, math.inf])), "values: expected finite"),
        (
            lambda: plots.log_likelihood_histogram(torch.zeros(3), dimensions=0),
            "dimensions must be at least 1, got 0",
        ),
        (lambda: plots.training_curves([]), "metrics: expected rows"),
        (lambda: plots.training_curves([{"epoch": 1.0}]), "metrics: .* without .*train_bound"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_histogram_counts_every_datum_and_marks_the_mean():
    values = -80 - torch.randn(500).exp()
    axes = plots.log_likelihood_histogram(values).axes[0]
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in axes.patches]
    assert sum(height for *_, height in bars) == 500
    left, width, height = max(bars, key=lambda bar: bar[2])
    assert height == ((values >= left) & (values < left + width)).sum()
    (mean,) = axes.lines
    assert mean.get_xdata()[0] == pytest.approx(float(values.mean()))
    assert f"{values.mean():.2f}".replace("-", "−") in axes.get_legend().get_texts()[0].get_text()


def test_histogram_in_bits_per_dimension():
    values = -1000 - 100 * torch.rand(50)
    axes = plots.log_likelihood_histogram(values, dimensions=560).axes[0]
    assert axes.lines[0].get_xdata()[0] == pytest.approx(-float(values.mean()) / (560 * math.log(2)))
    assert "bits per dimension" in axes.get_xlabel()


def rows(count, valid=True):
    return [
        {
            "epoch": float(e),
            "train_bound": -90.0 - 400.0 / e**2,
            "valid_bound": -91.0 - 300.0 / e**2 - (e > 30) if valid else math.nan,
            "kl_weight": min(1.0, e / 10),
        }
        for e in range(1, count + 1)
    ]


def test_training_curves_hold_the_metrics():
    metrics = rows(40)
    bounds, weights = plots.training_curves(metrics).axes
    train, valid, best = bounds.lines
    for line, key in ((train, "train_bound"), (valid, "valid_bound"), (weights.lines[0], "kl_weight")):
        np.testing.assert_array_equal(line.get_xdata(), [row["epoch"] for row in metrics])
        np.testing.assert_array_equal(line.get_ydata(), [row[key] for row in metrics])
    assert best.get_xdata() == [30.0]
    assert best.get_ydata() == [metrics[29]["valid_bound"]]
    low, high = bounds.get_ylim()
    later = [row[key] for row in metrics[9:] for key in ("train_bound", "valid_bound")]
    assert metrics[0]["train_bound"] < low < min(later)
    assert max(later) < high
    assert bounds.get_xlim() == weights.get_xlim()


def test_training_curves_join_epochs_with_validation():
    metrics = [row if row["epoch"] % 5 == 0 else row | {"valid_bound": math.nan} for row in rows(40)]
    _, valid, best = plots.training_curves(metrics).axes[0].lines
    np.testing.assert_array_equal(valid.get_xdata(), range(5, 41, 5))
    np.testing.assert_array_equal(valid.get_ydata(), [row["valid_bound"] for row in metrics[4::5]])
    assert best.get_xdata() == [30.0]


def test_training_curves_without_validation_data_and_of_one_epoch():
    bounds, _ = plots.training_curves(rows(1, valid=False)).axes
    (train,) = bounds.lines
    assert train.get_marker() == "."


def test_unit_activities_are_sorted_and_counted():
    figure = plots.unit_activities({"z2": torch.tensor([0.5, 0.0, 2.0, 0.009]), "z1": torch.tensor([1.0, 0.02])})
    upper, lower, line = figure.axes[0].lines
    np.testing.assert_allclose(upper.get_ydata(), [2.0, 0.5, 0.009, 1e-8])
    np.testing.assert_allclose(lower.get_xdata(), [1, 2])
    np.testing.assert_allclose(line.get_ydata(), [0.01, 0.01])
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == ["z2: 2 of 4 active", "z1: 2 of 2 active"]
    for bad in ({}, {"z": torch.tensor([-1.0])}, {"z": torch.tensor([math.nan])}, {"z": torch.zeros(2, 2)}):
        with pytest.raises(ValueError, match="variances: expected finite values"):
            plots.unit_activities(bad)


def test_log_likelihood_curve_holds_the_runs_in_order():
    figure = plots.log_likelihood_curve([500, 10, 100], [-89.0, -95.0, -90.0], [0.2, 0.4, 0.3], label="components")
    (axes,) = figure.axes
    curve = axes.lines[0]
    np.testing.assert_array_equal(curve.get_xdata(), [10, 100, 500])
    np.testing.assert_array_equal(curve.get_ydata(), [-95.0, -90.0, -89.0])
    (bars,) = axes.collections
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, [[-95.4, -94.6], [-90.3, -89.7], [-89.2, -88.8]])
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "components"
    assert plots.log_likelihood_curve([1, 2], [0.0, 1.0], [0.1, 0.1], label="x").axes[0].get_xscale() == "linear"
    for bad in (([], [], []), ([1, 2], [0.0], [0.1]), ([1], [math.nan], [0.1])):
        with pytest.raises(ValueError, match="expected x, means and standard_errors of as many runs"):
            plots.log_likelihood_curve(*bad, label="x")


def test_nothing_global_is_touched(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would raise
    before = dict(matplotlib.rcParams.copy())
    plots.image_grid(torch.rand(4, 12), (1, 3, 4)).savefig(io.BytesIO())
    plots.training_curves(rows(3), title="curves").savefig(io.BytesIO())
    plots.log_likelihood_histogram(torch.randn(10)).savefig(io.BytesIO())
    assert dict(matplotlib.rcParams.copy()) == before


def test_sticks_used_counts_every_datum():
    axes = plots.sticks_used(torch.tensor([1, 3, 3, 3, 5]), 6).axes[0]
    assert [bar.get_height() for bar in axes.patches] == [1, 0, 3, 0, 1, 0]
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([1, 2, 3, 4, 5, 6])
    assert axes.lines[0].get_xdata()[0] == 3.0
    with pytest.raises(ValueError, match="counts: expected whole numbers"):
        plots.sticks_used(torch.tensor([0, 2]), 6)


def test_sparsity_shows_means_and_norms_of_each_dimension():
    latents, weights = torch.randn(5, 3), torch.randn(4, 3)
    upper, lower = plots.latent_and_decoder_sparsity(latents, weights).axes
    assert [bar.get_height() for bar in upper.patches] == pytest.approx(latents.abs().mean(0).tolist())
    assert [bar.get_height() for bar in lower.patches] == pytest.approx(weights.norm(dim=0).tolist())
    with pytest.raises(ValueError, match=r"latents and weights must be \[N, K\] and \[H, K\]"):
        plots.latent_and_decoder_sparsity(latents, weights.T)


def test_tsne_keeps_apart_what_is_apart():
    labels = torch.arange(3).repeat_interleave(30)
    latents = 20.0 * torch.eye(3)[labels] + torch.randn(90, 3)
    axes = plots.tsne(latents, labels + 4).axes[0]
    clouds = [torch.as_tensor(cloud.get_offsets().data) for cloud in axes.collections]
    assert [cloud.get_label() for cloud in axes.collections] == ["4", "5", "6"]
    for i, cloud in enumerate(clouds):
        assert len(cloud) == 30
        for other in clouds[i + 1 :]:
            assert torch.cdist(cloud, other).min() > torch.cdist(cloud, cloud.mean(0, keepdim=True)).mean()
    with pytest.raises(ValueError, match=r"latents and labels must be \[N, D\] and \[N\]"):
        plots.tsne(latents, labels[:5])


@pytest.mark.parametrize("worst", [0.0, 0.8])
def test_errors_by_difficulty_are_all_in_the_picture(worst):
    rows = [{"difficulty": n, "mean_step": 1.5, "num_steps_early": 2.0, "error": n * worst / 2} for n in (1, 2)]
    steps, errors = plots.adaptive_steps(rows).axes
    assert [line.get_label().split(",")[0] for line in steps.lines] == [
        "steps computed",
        "mean index under the weights",
    ]
    assert list(errors.lines[0].get_ydata()) == pytest.approx([50 * worst, 100 * worst])
    low, high = errors.get_ylim()
    assert low < 0
    assert high > max(50, 100 * worst)

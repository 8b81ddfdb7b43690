import itertools
import re
import xml.dom.minidom

import matplotlib.image
import numpy as np
import pytest
import torch

from pyrodgm import plots
from pyrodgm.infer import FitResult
from pyrodgm.plots.saving import SCHEMES
from pyrodgm.plots.style import MARKERS, PALETTE

# Colours as people without one kind of cone see them, in linear RGB: Machado et al. (2009), IEEE TVCG 15.
SEEN_BY = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "all": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def lab(colours, matrix):
    """CIE L*a*b* of colours ``#rrggbb`` as somebody sees them."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colours])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = (linear @ np.array(matrix).T).clip(0, 1) @ TO_XYZ.T / TO_XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)


def closest(colours, kind):
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab(colours, SEEN_BY[kind]), 2))


TAB10 = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf")


def test_ten_classes_stay_apart_for_the_colour_blind():
    assert len(set(PALETTE)) == len(set(MARKERS)) == 10
    nearest = {kind: closest(PALETTE, kind) for kind in SEEN_BY}
    assert min(nearest.values()) > 15  # 2.3 is just noticeable
    assert min(nearest.values()) > 2 * min(closest(TAB10, kind) for kind in SEEN_BY)


def chart():
    return plots.sticks_used(torch.tensor([1, 3, 3]), 4, title="sticks")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_files_have_the_colours_of_their_scheme(tmp_path, theme):
    figure = chart()
    plots.save(figure, tmp_path / "chart.png", theme)
    corner = matplotlib.image.imread(tmp_path / "chart.png")[0, 0, :3]
    ink, paper, _ = SCHEMES[theme]
    assert "#" + "".join(f"{round(255 * float(c)):02x}" for c in corner) == paper
    plots.save(figure, tmp_path / "chart.svg", theme)
    text = (tmp_path / "chart.svg").read_text()
    assert ink in text
    assert paper in text
    assert "var(" not in text
    # the figure itself stays as it was
    assert figure.axes[0].xaxis.label.get_color() == "black"
    assert plots.svg(figure, theme) == text


def test_one_svg_follows_the_reader_and_is_shown_by_notebooks():
    text = plots.svg(chart())
    xml.dom.minidom.parseString(text)
    style = re.search(r"<style>(.*?)</style>", text)[1]
    for scheme in SCHEMES.values():
        assert all(colour in style for colour in scheme)
    assert text.count("var(--ink)") > 5
    assert "#010203" not in text
    assert chart()._repr_svg_() == text
    picture = plots.svg(plots.image_grid(torch.rand(4, 12), (1, 3, 4)))
    assert "image-rendering:pixelated" in picture
    with pytest.raises(ValueError, match="theme must be one of auto, light, dark, got 'sepia'"):
        plots.svg(chart(), "sepia")


def test_results_draw_themselves():
    rows = [{"epoch": 1.0, "train_bound": -9.0, "valid_bound": -8.0, "kl_weight": 1.0}]
    curves = FitResult(rows, [0.1], 1, -8.0, None).plot("curves")
    assert curves.axes[0].lines[0].get_ydata() == [-9.0]
    assert curves.get_suptitle() == "curves"


def test_diagnostics_count_what_is_beyond_the_axes():
    values = torch.tensor([-3.0, -2.0, -1.0, -2.0])
    k_hat, ess = torch.tensor([0.1, torch.inf, 0.8, -torch.inf]), torch.tensor([500.0, 1.0, 20.0, 1000.0])
    figure = plots.likelihood_diagnostics(values, k_hat, ess)
    assert [sum(bar.get_height() for bar in axes.patches) for axes in figure.axes] == [4, 4, 4]
    texts = [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes]
    assert texts == ["mean −2.00", "limit 0.7; 50.0 % above", "limit 30; 50.0 % below"]
    with pytest.raises(ValueError, match="values, k_hat and ess: expected numbers"):
        plots.likelihood_diagnostics(values, k_hat[:2], ess)


def test_labels_name_rows_and_columns():
    images = torch.rand(6, 12)
    figure = plots.image_grid(images, (1, 3, 4), columns=3, row_labels=["a", "b"], column_labels=["x", "y", "z"])
    texts = {text.get_text(): text.get_position() for text in figure.texts}
    assert texts["a"][1] > texts["b"][1]
    assert texts["x"][0] < texts["y"][0] < texts["z"][0]
    with pytest.raises(ValueError, match="row_labels: expected 2 of them, got 1"):
        plots.image_grid(images, (1, 3, 4), columns=3, row_labels=["a"])
    pairs = plots.reconstructions(images, images, (1, 3, 4))
    assert "input on the left, reconstruction on the right" in pairs.texts[0].get_text()


def test_traversal_page_holds_every_image_and_asks_no_server():
    page = plots.traversal_page(torch.rand(6, 12), (1, 3, 4), (2, 3), title="a <plane>")
    assert "a &lt;plane&gt;" in page
    assert "http" not in page
    assert page.count("data:image/png;base64,") == 1
    with pytest.raises(ValueError, match=r"size: expected rows and columns of 6 images, got \(2, 2\)"):
        plots.traversal_page(torch.rand(6, 12), (1, 3, 4), (2, 2))

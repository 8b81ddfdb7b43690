"""The masked-convolution network: its order, its context, its sampler."""

import pytest
import torch

from pyrodgm.nn import ChannelNorm, PixelCNN

SHAPES = [(1, 4, 5), (3, 3, 4)]


def make(shape, norm="channel", **kwargs):
    net = PixelCNN(shape, context_channels=2, hidden=16, layers=3, norm=norm, **kwargs).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
        for scale in (layer.weight if norm == "batch" else layer.scale for layer in net.norms):
            scale.fill_(1.0)  # few units are dead then
        for name, buffer in net.named_buffers():
            if "running_var" in name:
                buffer.uniform_(0.5, 1.5)
            if "running_mean" in name:
                buffer.uniform_(-0.2, 0.2)
    return net


def order(shape):
    """The place of each [channel, row, column] in the order of drawing: pixels in reading order, channels in each."""
    channels, height, width = shape
    return (torch.arange(height * width) * channels).reshape(1, height, width) + torch.arange(channels)[:, None, None]


@pytest.mark.parametrize("norm", ["channel", "batch"])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_see_values_before_them_alone(shape, norm):
    net, x, context = make(shape, norm, outputs=2), torch.randn(1, *shape), torch.randn(1, 2, *shape[1:])
    slopes = torch.autograd.functional.jacobian(lambda v: net(v, context), x)[0, :, :, :, :, 0]
    place = order(shape).flatten()
    for each in slopes:
        moved = each.reshape(len(place), len(place)) != 0
        assert not moved[place[None, :] >= place[:, None]].any()
        assert moved[place[None, :] == place[:, None] - 1].float().mean() > 0.2  # many see the one just before


def test_every_output_sees_the_context_at_its_own_pixel_and_after():
    net, x, context = make((1, 4, 5)), torch.randn(1, 1, 4, 5), torch.randn(1, 2, 4, 5)
    slopes = torch.autograd.functional.jacobian(lambda v: net(x, v), context)[0, 0, 0, :, :, 0]
    for r in range(4):
        for c in range(5):
            assert (slopes[r, c, :, r, c] != 0).all()
    assert (slopes[1, 1, :, 2, 2] != 0).all()


def test_leading_dimensions_broadcast():
    net, x, context = make((3, 3, 4), outputs=2), torch.randn(5, 3, 3, 4), torch.randn(6, 1, 2, 3, 4)
    together = net(x, context)
    assert together.shape == (6, 5, 2, 3, 3, 4)
    assert torch.allclose(together[4, 3], net(x[3], context[4, 0]))


@pytest.mark.parametrize("norm", ["channel", "batch"])
@pytest.mark.parametrize("shape", SHAPES)
def test_sampler_gives_each_pixel_what_the_whole_network_gives(shape, norm):
    """The naive way, the whole network once a value, with the same draws."""
    net, context = make(shape, norm, outputs=2).train(), torch.randn(4, 2, *shape[1:])
    noise, count = torch.randn(shape[0] * shape[1] * shape[2], 4), iter(range(1000))
    draw = lambda outputs: outputs[:, 0].tanh() + outputs[:, 1].sigmoid() * noise[next(count)]  # noqa: E731
    fast = net.ancestral(context, draw)
    assert all(module.training for module in net.modules())
    net.eval()
    slow, place, count = torch.zeros(4, *shape), order(shape), iter(range(1000))
    with torch.no_grad():
        for i in range(place.numel()):
            at = (place == i).nonzero()[0]
            outputs = net(slow, context)[:, :, at[0], at[1], at[2]]
            slow[:, at[0], at[1], at[2]] = draw(outputs)
    assert torch.allclose(fast, slow)


def test_an_interrupted_draw_leaves_the_network_training():
    net, count = make((1, 4, 5), "batch").train(), iter(range(3))
    with pytest.raises(StopIteration):
        net.ancestral(torch.randn(4, 2, 4, 5), lambda outputs: outputs[:, 0] + next(count))
    assert all(module.training for module in net.modules())


def test_channel_norm_is_layer_norm_of_each_pixels_groups():
    norm, x = ChannelNorm(6, 2), torch.randn(4, 6, 3, 5)
    with torch.no_grad():
        norm.scale.normal_()
        norm.shift.normal_()
    rows = x.movedim(1, -1).unflatten(-1, (2, 3))
    expected = torch.nn.functional.layer_norm(rows, (3,)).flatten(-2) * norm.scale + norm.shift
    assert torch.allclose(norm(x), expected.movedim(-1, 1))


def test_hidden_channels_are_rounded_up_to_the_groups():
    assert PixelCNN((3, 2, 2), 1, hidden=64).convs[0].out_channels == 66
    with pytest.raises(ValueError, match="norm must be one of channel, batch"):
        PixelCNN((1, 2, 2), 1, norm="layer")
    with pytest.raises(ValueError, match="layers must be at least 1"):
        PixelCNN((1, 2, 2), 1, layers=0)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 4, 4)])
def test_features_that_normalisation_would_make_zero_are_refused(shape):
    """With the fewest features that are taken, an untrained network still sees what is before each pixel."""
    channels = shape[0]
    with pytest.raises(ValueError, match=f"hidden must be above {channels} for {channels} channels"):
        PixelCNN(shape, 1, hidden=channels)
    net, x = PixelCNN(shape, 1, hidden=channels + 1), torch.randn(1, *shape)
    assert (net(x, torch.zeros(1, 1, 4, 4)) - net(-x, torch.zeros(1, 1, 4, 4))).abs().max() > 0
    assert PixelCNN(shape, 1, hidden=channels, norm="batch").convs[0].out_channels == channels

"""The convolutional networks: sizes of odd and even images, leading dimensions, and what sees what."""

import pytest
import torch

from pyrodgm.nn import conv_decoder, conv_encoder


@pytest.mark.parametrize("image_shape", [(1, 28, 28), (3, 32, 17), (2, 5, 9)], ids=str)
@pytest.mark.parametrize("channels", [[3], [4, 6, 2]], ids=str)
def test_sizes_and_leading_dimensions(image_shape, channels):
    pixels = torch.tensor(image_shape).prod().item()
    encoder = conv_encoder(image_shape, channels, 5, hidden=[7])
    decoder = conv_decoder(5, channels[::-1], image_shape, hidden=[7])
    x = torch.rand(2, 3, 4, pixels)
    h = encoder(x)
    out = decoder(h)
    assert (h.shape, out.shape) == ((2, 3, 4, 5), x.shape)
    torch.testing.assert_close(h[1, 2], encoder(x[1, 2]))
    torch.testing.assert_close(out[1, 2, 3], decoder(h[1, 2, 3]))
    assert out.min() < 0  # logits: no activation at the end


def test_encoder_sees_neighbours_and_every_pixel():
    """A first map is what a convolution of the image, as it is laid out in memory, gives."""
    encoder = conv_encoder((2, 6, 4), [3], 5)
    x = torch.rand(2 * 6 * 4, requires_grad=True)
    first = encoder[0].net[0](x.reshape(1, 2, 6, 4))[0, :, 1, 0]
    seen = torch.autograd.grad(first.sum(), x)[0].reshape(2, 6, 4) != 0
    expected = torch.zeros(2, 6, 4, dtype=torch.bool)
    expected[:, 1:4, 0:2] = True
    assert torch.equal(seen, expected)
    everything = torch.autograd.grad(conv_encoder((2, 6, 4), [30], 50, activation=torch.nn.Tanh)(x).sum(), x)[0]
    assert (everything != 0).all()


def test_mirror_has_the_encoders_shapes():
    encoder, decoder = conv_encoder((1, 28, 28), [32, 64], 10), conv_decoder(10, [64, 32], (1, 28, 28))
    maps = encoder[0].net(torch.rand(1, 1, 28, 28))
    assert maps.shape[1:] == decoder[-1].image_shape == (64, 7, 7)


def test_scale_of_activations_is_kept():
    encoder = conv_encoder((1, 28, 28), [32, 64], 200)
    assert 0.3 < encoder(torch.randn(50, 784)).std() < 3


@pytest.mark.parametrize("make", [lambda: conv_encoder((1, 8, 8), [], 3), lambda: conv_decoder(3, [], (1, 8, 8))])
def test_channels_are_needed(make):
    with pytest.raises(ValueError, match="channels must give the channels of at least one convolution"):
        make()

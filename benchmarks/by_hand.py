"""The same models in plain PyTorch, as one would write them by hand; what pyrodgm's steps are timed against."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class GatedVAE(nn.Module):
    """784-300-300-40 gated VAE; with ``pseudo_inputs`` its prior is a VampPrior."""

    def __init__(self, pseudo_inputs: int = 0) -> None:
        super().__init__()
        self.encoder = nn.ModuleList([nn.Linear(784, 600), nn.Linear(300, 600), nn.Linear(300, 80)])
        self.decoder = nn.ModuleList([nn.Linear(40, 600), nn.Linear(300, 600), nn.Linear(300, 784)])
        self.pseudo_inputs = nn.Parameter(torch.rand(pseudo_inputs, 784)) if pseudo_inputs else None

    @staticmethod
    def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
        return layers[2](F.glu(layers[1](F.glu(layers[0](x), -1)), -1))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance."""
        loc, log_variance = self._run(self.encoder, x).chunk(2, -1)
        return loc, log_variance.clamp(-6.0, 2.0)

    def log_likelihood(self, z: Tensor, x: Tensor) -> Tensor:
        """log p(x | z) of each row."""
        logits = self._run(self.decoder, z)
        return -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none").sum(-1)

    def log_prior(self, z: Tensor) -> Tensor:
        """log p(z), the mixture by a broadcast over its components."""
        if self.pseudo_inputs is None:
            return log_normal(z, torch.zeros_like(z), torch.zeros_like(z))
        loc, log_variance = self.encode(self.pseudo_inputs.clamp(0.0, 1.0))
        each = log_normal(z.unsqueeze(-2), loc, log_variance)
        return each.logsumexp(-1) - math.log(len(loc))

    def elbo_loss(self, x: Tensor) -> Tensor:
        """Negative bound a datum, the divergence exact where the prior is standard normal."""
        loc, log_variance = self.encode(x)
        z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
        if self.pseudo_inputs is None:
            kl = 0.5 * (loc**2 + log_variance.exp() - 1.0 - log_variance).sum(-1)
        else:
            kl = log_normal(z, loc, log_variance) - self.log_prior(z)
        return (kl - self.log_likelihood(z, x)).mean()

    def iw_loss(self, x: Tensor, particles: int) -> Tensor:
        """Negative importance-weighted bound a datum."""
        loc, log_variance = self.encode(x)
        z = loc + (0.5 * log_variance).exp() * torch.randn(particles, *loc.shape, device=loc.device)
        log_w = self.log_likelihood(z, x) + self.log_prior(z) - log_normal(z, loc, log_variance)
        return (math.log(particles) - log_w.logsumexp(0)).mean()

    @torch.no_grad()
    def image_by_image(self, x: Tensor, num_samples: int, chunk: int = 100) -> Tensor:
        """log p(x) of each image as published code estimates it: copies of one image are encoded, chunk by chunk."""
        results = []
        for image in x:
            log_w = []
            for _ in range(num_samples // chunk):
                copies = image.expand(chunk, -1)
                loc, log_variance = self.encode(copies)
                z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
                log_w.append(self.log_likelihood(z, copies) + self.log_prior(z) - log_normal(z, loc, log_variance))
            results.append(torch.cat(log_w).logsumexp(0) - math.log(num_samples))
        return torch.stack(results)

    @torch.no_grad()
    def decoder_products(self, num_samples: int, chunk: int = 500) -> None:
        """Only the decoder's matrix products for an image, into memory kept for them: what no way can do without."""
        device = self.decoder[0].weight.device
        rows = [torch.randn(chunk, layer.in_features, device=device) for layer in self.decoder]
        results = [torch.empty(chunk, layer.out_features, device=device) for layer in self.decoder]
        for _ in range(num_samples // chunk):
            for layer, x, out in zip(self.decoder, rows, results, strict=True):
                torch.mm(x, layer.weight.T, out=out)


class StickVAE(nn.Module):
    """784-500-K VAE of Kumaraswamy sticks as published: clipped uniforms, ten terms of the divergence's series."""

    def __init__(self, truncation: int = 50, concentration: float = 5.0) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 2 * (truncation - 1)))
        self.decoder = nn.Sequential(nn.Linear(truncation, 500), nn.ReLU(), nn.Linear(500, 784))
        self.concentration = concentration

    def elbo_loss(self, x: Tensor) -> Tensor:
        """Negative bound a datum."""
        a, b = F.softplus(self.encoder(x)).chunk(2, -1)
        u = 0.01 + 0.98 * torch.rand_like(a)
        v = (1.0 - u ** (1.0 / b)) ** (1.0 / a)
        one = torch.ones_like(v[:, :1])
        z = torch.cat([v, one], 1) * torch.cat([one, (1.0 - v).cumprod(1)], 1)
        logits = self.decoder(z)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
        return (self.divergence(a, b).sum(-1) + cross_entropy).mean()

    def divergence(self, a: Tensor, b: Tensor) -> Tensor:
        """KL(Kumaraswamy(a, b) || Beta(1, concentration)) by the series."""
        digamma = b.log() - 0.5 / b - 1.0 / (12.0 * b**2)
        kl = (a - 1.0) / a * (-0.5772156649 - digamma - 1.0 / b) + (a * b).log() - (b - 1.0) / b
        series = torch.zeros_like(a)
        for m in range(1, 11):
            log_beta = torch.lgamma(m / a) + torch.lgamma(b) - torch.lgamma(m / a + b)
            series = series + log_beta.exp() / (m + a * b)
        return kl - math.log(self.concentration) + (self.concentration - 1.0) * b * series


def log_normal(z: Tensor, loc: Tensor, log_variance: Tensor) -> Tensor:
    """Log-density of a diagonal Gaussian."""
    return -0.5 * (math.log(2 * math.pi) + log_variance + (z - loc) ** 2 * (-log_variance).exp()).sum(-1)


def training_step(net: nn.Module, loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A training loop's step with fused Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)

    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        value = loss(x)
        value.backward()
        optimizer.step()
        return value.detach()

    return step

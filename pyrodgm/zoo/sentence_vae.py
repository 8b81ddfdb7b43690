"""A VAE of sentences under several priors, and a language model of equal size.

Bowman et al. (2016), arXiv 1511.06349: an LSTM reads a sentence, its last state gives the posterior of a latent, and
another LSTM writes the sentence from the latent. What keeps the latent in use is a warm-up of the divergence, word
dropout, and free bits (Kingma et al. 2016, arXiv 1606.04934). The prior may be a standard normal, as published, a
mixture of Gaussians, a VampPrior (Tomczak and Welling 2017, arXiv 1705.07120), or that of sticks of a Dirichlet
process.

Pseudo-inputs of the VampPrior lie in the space of the encoder's embeddings. As relaxed one-hot vectors they would have
a number for each word of the vocabulary at each place, 10,000 in place of 64, of which the encoder sees the mean of
embeddings alone; that is one more point of the space in which they lie here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from pyrodgm import experiment, plots
from pyrodgm.datasets import Dataset, evenly_spaced, limit_sentences
from pyrodgm.infer import ELBO
from pyrodgm.infer.tracing.contexts import evaluating, fork_rng
from pyrodgm.infer.training.checkpoint import write_atomically
from pyrodgm.infer.training.settings import OptimizerMaker
from pyrodgm.likelihoods import SentenceLikelihood
from pyrodgm.models import VAE, LanguageModel
from pyrodgm.nn import Scale, StickWeights
from pyrodgm.nn.recurrent import SentenceDecoder, SentenceEncoder, SentenceFeatures
from pyrodgm.posteriors import GaussianPosterior, StickBreakingPosterior
from pyrodgm.priors import GEMPrior, VampPrior
from pyrodgm.zoo.pairs.named_prior import named_prior

SHOWN = 6  # sentences of each kind, and steps between two


@dataclass(frozen=True)
class Config(experiment.TrainingConfig):
    """Train a VAE of sentences, evaluate it on the test set and write sentences."""

    data: str = "ptb_words"
    """Sentences, as pyrodgm.datasets.load calls them: ptb_words, ptb_characters, toy_sentences."""
    train_images: int | None = None
    """Number of training sentences, the first ones; None: all."""
    batch_size: int = 32
    """Sentences a step."""
    epochs: int = 40
    warmup: float = 10.0
    num_images: int | None = 500
    """Number of test sentences, evenly spread over the test set; None: all."""
    prior: Literal["standard", "mixture", "vampprior", "sticks", "none"] = "vampprior"
    """Prior of the latents; none: a language model, which has no latents and as many parameters."""
    components: int = 50
    """Components of a mixture, pseudo-inputs of a VampPrior, which start at training sentences."""
    concentration: float = 1.0
    """Concentration of the stick-breaking prior."""
    latent: int = 32
    """Number of latent dimensions, or of sticks."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Cell of encoder and decoder."""
    embedding: int = 64
    """Features of a symbol."""
    hidden: int = 256
    """Units of encoder and decoder."""
    word_dropout: float = 0.3
    """Share of the inputs that are hidden from the decoder of a VAE in training."""
    free_bits: float = 0.0
    """Nats a sentence of the divergence that cost nothing."""
    max_length: int | None = 40
    """Symbols of a sentence, its end included; longer ones are left out of all parts. None: none are."""
    vocabulary: int | None = None
    """Most frequent words that are kept, the end included; others become <unk>. None: all."""
    clip_grad_norm: float | None = 5.0
    """Largest norm of the gradient, in nats a sentence; None: any."""

    @property
    def title(self) -> str:
        """Data, prior and cell."""
        return f"{self.data} {self.prior} {self.cell}"


def load_data(config: Config, root: str | None) -> Dataset:
    """The sentences that are short enough, in the vocabulary."""
    return limit_sentences(experiment.load_data(config, root), config.max_length, config.vocabulary)


def build(config: Config, data: Dataset) -> VAE | LanguageModel:
    """The untrained pair."""
    if data.values != "symbols":
        raise ValueError(f"--data must be sentences for sentence_vae, got {data.name}, whose values are {data.values}")
    if config.prior == "none":
        return _language_model(config, data, config.hidden + _more_units(config, data))
    count, size = len(data.symbols), config.latent
    outputs = 2 * size - 2 * (config.prior == "sticks")
    encoder = SentenceEncoder(config.embedding, config.hidden, outputs, config.cell)
    features, context = SentenceFeatures(count, config.embedding), nn.Sequential()
    if config.prior == "sticks":
        posterior: nn.Module = StickBreakingPosterior(encoder, concentration=config.concentration)
        # scaled to a mean square of about one, as initial weights expect
        context = nn.Sequential(StickWeights(), Scale((size * (1 + config.concentration)) ** 0.5))
    else:
        posterior = GaussianPosterior(encoder)
    decoder = SentenceDecoder(count, size, config.embedding, config.hidden, config.cell)
    likelihood = SentenceLikelihood(context, decoder, data.image_shape[2], word_dropout=config.word_dropout)
    vampprior = partial(_vampprior, config, posterior, features, data)
    prior = named_prior(config.prior, size, config.components, vampprior, config.concentration)
    return VAE(prior, likelihood, nn.Sequential(features, posterior))


def _vampprior(config: Config, posterior: nn.Module, features: SentenceFeatures, data: Dataset) -> VampPrior:
    rows = data.train.images[torch.randperm(len(data.train))[: config.components]]
    return VampPrior(posterior, features(rows), bounded=False)


def _language_model(config: Config, data: Dataset, hidden: int) -> LanguageModel:
    decoder = SentenceDecoder(len(data.symbols), 0, config.embedding, hidden, config.cell)
    return LanguageModel(SentenceLikelihood(nn.Identity(), decoder, data.image_shape[2]))


def _more_units(config: Config, data: Dataset) -> int:
    """By how many units a language model is wider that has as many parameters as the VAE under a standard normal."""

    def size(pair: nn.Module) -> int:
        return sum(p.numel() for p in pair.parameters())

    with torch.device("meta"):
        wanted, more = size(build(replace(config, prior="standard"), data)), 0
        while size(_language_model(config, data, config.hidden + more + 1)) <= wanted:
            more += 1
    return more


def objective(config: Config) -> ELBO:
    """The evidence lower bound, part of the divergence free."""
    return ELBO(free_bits=config.free_bits)


def optimizer(config: Config) -> OptimizerMaker:
    """The optimiser, made from parameters."""
    return partial(torch.optim.Adam, lr=config.learning_rate, fused=True)


def settings(config: Config, data: Dataset) -> dict[str, Any]:
    """The limit of the gradient."""
    return {"clip_grad_norm": config.clip_grad_norm}


def written(pair: VAE | LanguageModel, data: Dataset, seed: int) -> dict[str, list[str]]:
    """Sentences by kind: test sentences and reconstructions, samples, a path between two, and grown ones.

    All but the samples take the most probable symbol at each step. Reconstructions and paths start from means of the
    posterior, of sticks from draws. Below each pseudo-input, given by the symbols whose embeddings are nearest, are
    sentences of latents from its component.
    """
    first = next(pair.parameters())
    with fork_rng(first.device), evaluating(pair), torch.no_grad():
        torch.manual_seed(seed)
        if isinstance(pair, LanguageModel):
            return {"samples": data.decode(pair.likelihood(first.new_zeros(SHOWN, 0)).sample())}
        x = data.test.images[evenly_spaced(len(data.test), SHOWN)].to(first.device)
        q = pair.posterior(x)
        means = q.sample() if isinstance(pair.prior, GEMPrior) else q.mean
        steps = torch.linspace(0, 1, SHOWN, device=first.device, dtype=first.dtype).unsqueeze(-1)
        path = torch.lerp(means[0], means[1], steps)
        found = {
            "test sentences": data.decode(x),
            "reconstructed": data.decode(pair.likelihood(means).greedy()),
            "samples": data.decode(pair.likelihood(pair.prior().sample((SHOWN,))).sample()),
            "from the first to the second": data.decode(pair.likelihood(path).greedy()),
        }
        if isinstance(pair.prior, VampPrior):
            for number, u in enumerate(pair.prior.pseudo_inputs[:2], 1):
                grown = pair.likelihood(pair.prior.component(u).sample((SHOWN // 2,))).greedy()
                found[f"pseudo-input {number}, and grown from it"] = [_nearest(pair, data, u), *data.decode(grown)]
    return found


def _nearest(pair: VAE, data: Dataset, u: torch.Tensor) -> str:
    """The symbols whose embeddings are nearest to a pseudo-input, up to its last one."""
    last = int(u[:, -1].argmax())
    (features, *_) = pair.posterior.children()
    near = torch.cdist(u[:last, :-1], features.get_submodule("embedding").get_parameter("weight")).argmin(1)
    return data.decode(near.unsqueeze(0))[0]


def report(
    pair: VAE | LanguageModel,
    data: Dataset,
    run: experiment.Run,
    *,
    seed: int = 0,
    figures: bool = True,
    **options: Any,
) -> str:
    """Evaluate, write results; and the sentences of :func:`written`, as text and as a figure."""
    text = experiment.text_report(pair, data, run, seed=seed, figures=False, **options)
    if figures:
        folder, groups = run.path / "figures", written(pair, data, seed)
        folder.mkdir(exist_ok=True)
        blocks = ["\n".join([f"# {name}", *lines]) for name, lines in groups.items()]
        write_atomically(folder / "sentences.txt", lambda file: file.write_text("\n\n".join(blocks) + "\n"))
        plots.sentences(groups, title=data.name).savefig(folder / "sentences.png")
        plots.training_curves(run.metrics, title=f"{data.name}: training").savefig(folder / "training.png")
    return text


def main(config: Config) -> Iterator[str]:
    """Train, evaluate and print one row of the table."""
    yield experiment.train(SYSTEM, config, report).report


SYSTEM = experiment.ImageSystem(
    "sentence_vae", Config, build, objective, optimizer, main, settings, load_data, report, values=("symbols",)
)

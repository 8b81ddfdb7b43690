"""A right call of each public function and class, and why some have none: what ``odd_arguments.py`` changes.

A call is made anew each time, since some change their arguments.
"""

from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import nn

from pyrodgm import boltzmann as bm
from pyrodgm import distributions as d
from pyrodgm.datasets import Dataset, Split, Text, sentences
from pyrodgm.infer import FitSettings
from pyrodgm.likelihoods import BernoulliLikelihood, ImplicitLikelihood
from pyrodgm.models import GAN, VAE, SemiSupervisedVAE, SequenceModel
from pyrodgm.nn import Concatenate, Discriminator, Joint, PixelCNN, mlp
from pyrodgm.nn.recurrent import SentenceDecoder, StickBreakingRNN
from pyrodgm.posteriors import CategoricalPosterior, GaussianPosterior
from pyrodgm.priors import StandardNormal

Call = Callable[[], dict[str, Any]]

PACKAGES = [
    "arithmetic",
    "boltzmann",
    "datasets",
    "distributions",
    "distributions.logits",
    "experiment",
    "figures",
    "infer",
    "likelihoods",
    "models",
    "nn",
    "nn.recurrent",
    "plots",
    "posteriors",
    "priors",
    "processes",
    "testing",
    "zoo",
    "zoo.pairs",
    "cli",
]

# Packages and names without a call, and why.
LEFT_OUT = {
    "arithmetic": "functions of tensors alone, run in each step: what is not a number goes in and comes out",
    "cli": "command lines, whose flags tyro checks by their types",
    "experiment": "what command lines do: flags go on to fit and log_likelihood, which check them",
    "figures": "draws the parts of a trained pair, which are registered, with plots",
    "processes": "between processes: called by the library on what it has",
    "testing": "checks of parts, called with distributions, priors and pairs, whose faults they report",
    "datasets.Dataset": "made by load and from_tensors, which check what it holds",
    "datasets.Split": "checked where a data set is made of it",
    "datasets.Text": "made by load_text and from_strings",
    "boltzmann.Machine": "abstract",
    "boltzmann.Sampler": "a protocol",
    "boltzmann.Units": "abstract",
    "distributions.GreyBernoulli": "the Bernoulli of PyTorch, which checks its arguments, on another support",
    "distributions.Smoothing": "abstract",
    "distributions.logits.Logit": "abstract",
    "infer.Callback": "takes nothing",
    "infer.Hinge": "takes nothing",
    "infer.NonSaturating": "takes nothing",
    "models.Pair": "takes nothing",
    "nn.Concatenate": "takes nothing",
    "nn.StickWeights": "takes nothing",
    "priors.current_rows": "takes nothing",
    "zoo.pairs.Method": "a type",
    "infer.AdamNormGrad": "PyTorch's own arguments, which it checks",
    "infer.WandbLogger": "arguments of wandb.init",
    "infer.MLflowLogger": "names of an experiment and of a server",
    "infer.CSVLogger": "a path",
    "infer.TensorBoardLogger": "a path",
    "infer.load_weights": "a path; damaged files have tests of their own",
    "infer.save_weights": "a path",
    "load": "a path; damaged folders have tests of their own",
    "load_run": "a path; damaged folders have tests of their own",
    "load_from_hub": "a repository on a host",
    "push_to_hub": "a repository on a host",
    "save": "a path",
    "plots.save": "a path",
    "plots.write_wav": "a path",
    "PyrodgmError": "the base of errors",
    "boltzmann.Dimod": "needs a sampler of dimod; tests/boltzmann has its arguments",
    "datasets.load_text": "needs files; tests/datasets has its arguments",
    "posteriors.FlowPosterior": "needs zuko; tests/posteriors has its arguments",
    "distributions.FlowDistribution": "a distribution of zuko, made by FlowPosterior",
    "datasets.AnnDataRows": "needs anndata; tests/datasets has its arguments",
    "datasets.hugging_face_shards": "needs datasets; tests/datasets has its arguments",
}
# Exceptions, and what the library makes and hands out.
RESULTS = [
    "boltzmann.EliminationOrder",
    "boltzmann.GraphMoments",
    "boltzmann.InverseTemperature",
    "boltzmann.LogPartition",
    "boltzmann.Moments",
    "boltzmann.Population",
    "boltzmann.SamplerCheck",
    "boltzmann.Samples",
    "boltzmann.Spins",
    "boltzmann.Swept",
    "boltzmann.TwoSample",
    "distributions.NoDensityError",
    "infer.Bits",
    "infer.Certificate",
    "infer.DamagedFileError",
    "infer.FitResult",
    "infer.Fitted",
    "infer.FolderInUseError",
    "infer.LogLikelihood",
    "infer.Moment",
    "infer.NonFiniteError",
    "infer.PrecisionRecall",
    "infer.ProgramError",
    "infer.RefinedGuide",
    "infer.TextFitResult",
    "infer.Perplexity",
    "infer.TwoSample",
    "nn.recurrent.Unrolled",
]
LEFT_OUT |= dict.fromkeys(RESULTS, "made by the library and handed out")

QUIET = FitSettings(progress=False)


def bits(*shape: int) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(0)) < 0.5).to(torch.get_default_dtype())


def gaussian() -> GaussianPosterior:
    return GaussianPosterior(mlp(4, [3], 4))


def vae() -> VAE:
    return VAE(StandardNormal(2), BernoulliLikelihood(mlp(2, [3], 4)), gaussian())


def machine() -> dict[str, torch.Tensor]:
    return {"weights": torch.zeros(2, 3), "left_bias": torch.zeros(2), "right_bias": torch.zeros(3)}


def bipartite() -> d.BoltzmannMachine:
    return d.BoltzmannMachine(*machine().values())


def square() -> bm.Graph:
    return bm.Graph(4, [(0, 1), (1, 2), (2, 3), (3, 0)])


def on_square() -> bm.GraphMachine:
    return bm.GraphMachine(square(), torch.full((4,), 0.5), torch.full((4,), -0.5))


def images(binarization: str = "none") -> Dataset:
    labels = torch.tensor([0, 1, 0, 1, 0, 1])
    return Dataset.from_tensors(
        Split(bits(6, 4), labels), Split(bits(2, 4), labels[:2]), image_shape=(1, 2, 2), binarization=binarization
    )


def text() -> Text:
    return Text.from_strings("abcabcabcabc" * 2, "abcabcabc", "abcabcabc")


def sequence_model() -> SequenceModel:
    return SequenceModel.of_symbols(StickBreakingRNN(2, 3, max_steps=2), 3)


def labelled() -> SemiSupervisedVAE:
    networks = [BernoulliLikelihood(Joint([nn.Identity()] * 2, Concatenate(), mlp(4, [3], 4)))]
    networks += [CategoricalPosterior(mlp(4, [3], 2))]
    networks += [GaussianPosterior(Joint([nn.Identity()] * 2, Concatenate(), mlp(6, [3], 4)))]
    return SemiSupervisedVAE(StandardNormal(2), *networks, 2)


def gan() -> GAN:
    return GAN(StandardNormal(2), ImplicitLikelihood(mlp(2, [3], 4)), Discriminator.dense(4, [3]))


def moments() -> bm.Moments:
    return bm.exact_moments(**machine())


def states(count: int = 5) -> dict[str, torch.Tensor]:
    return {"left": bits(count, 2), "right": bits(count, 3)}


ONE = {"concentration1": 1.5, "concentration0": 2.0}
NORMAL = {"loc": 0.5, "scale": 2.0}
SHAPE = (1, 2, 2)
POWER = d.PowerSmoothing(8.0)


def pair_parts(*names: str) -> Call:
    """Any modules: pairs look at what they are called with."""
    return lambda: {name: nn.Identity() for name in names}


def series() -> dict[str, Any]:
    one = torch.ones(())
    return {"p": d.Kumaraswamy(one, one), "q": dist.Beta(one, one), "terms": 3}


def training(**options: Any) -> Call:
    return lambda: {"epochs": 1, "batch_size": 3, "settings": QUIET, **{n: v() for n, v in options.items()}}


CALLS: dict[str, Call] = {
    "boltzmann.BipartiteMachine": machine,
    "boltzmann.Bits": dict,
    "boltzmann.Gaussian": dict,
    "boltzmann.Gibbs": lambda: {"num_sweeps": 2},
    "boltzmann.Graph": lambda: {"num_units": 3, "edges": [(0, 1), (1, 2)]},
    "boltzmann.Graph.complete": lambda: {"num_units": 3},
    "boltzmann.Graph.bipartite": lambda: {"left": 2, "right": 3},
    "boltzmann.GraphMachine": lambda: {"graph": square(), "couplings": torch.zeros(4), "biases": torch.zeros(4)},
    "boltzmann.ParallelTempering": lambda: {"num_temperatures": 3, "num_rounds": 2, "num_sweeps": 1},
    "boltzmann.PopulationAnnealing": lambda: {"num_temperatures": 3, "num_sweeps": 1, "target_ess": 0.9},
    "boltzmann.Potts": lambda: {"num_states": 3},
    "boltzmann.advance_chains": lambda: {**machine(), **states(), "num_sweeps": 1},
    "boltzmann.anneal_population": lambda: {"machine": on_square(), "population_size": 8, "num_temperatures": 3},
    "boltzmann.annealed_importance_sampling": lambda: {**machine(), "num_temperatures": 3, "num_chains": 4},
    "boltzmann.attach_moments": lambda: {"log_partition": torch.zeros(()), **machine(), "moments": moments()},
    "boltzmann.bernoulli_entropy": lambda: {"logits": torch.zeros(3)},
    "boltzmann.bits_from_spins": lambda: {
        "graph": square(),
        "couplings": torch.zeros(4),
        "fields": torch.zeros(4),
    },
    "boltzmann.can_enumerate": lambda: {"weights": torch.zeros(2, 3), "max_units": 5},
    "boltzmann.check_parameters": machine,
    "boltzmann.check_sampler": lambda: {"machine": on_square(), "sampler": bm.Gibbs(1), "num_calls": 4},
    "boltzmann.estimate_inverse_temperature": lambda: {"machine": on_square(), "states": bits(5, 4)},
    "boltzmann.exact_log_partition": lambda: {**machine(), "max_bytes": 10**6},
    "boltzmann.exact_moments": lambda: {**machine(), "max_bytes": 10**6},
    "boltzmann.exact_samples": lambda: {**machine(), "num_samples": 3, "max_bytes": 10**6},
    "boltzmann.gibbs_sweeps": lambda: {**machine(), "left": bits(5, 2), "num_sweeps": 1},
    "boltzmann.greedy_coloring": lambda: {"num_units": 3, "edges": [(0, 1), (1, 2)]},
    "boltzmann.left_field": lambda: {
        "weights": torch.zeros(2, 3),
        "left_bias": torch.zeros(2),
        "right": bits(5, 3),
    },
    "boltzmann.log_marginal": lambda: {**machine(), "left": bits(5, 2)},
    "boltzmann.log_partition_change": lambda: {
        "before": tuple(machine().values()),
        "after": tuple(machine().values()),
        **states(),
    },
    "boltzmann.mean_field_log_partition": lambda: {**machine(), "num_iterations": 2},
    "boltzmann.negative_energy": lambda: {**machine(), **states()},
    "boltzmann.population_annealing": lambda: {
        **machine(),
        "population_size": 8,
        "target_ess": 0.9,
        "num_temperatures": 3,
        "num_sweeps": 1,
    },
    "boltzmann.random_states": lambda: {"weights": torch.zeros(2, 3), "num_samples": 4},
    "boltzmann.right_field": lambda: {
        "weights": torch.zeros(2, 3),
        "right_bias": torch.zeros(3),
        "left": bits(5, 2),
    },
    "boltzmann.sample_moments": lambda: {**machine(), **states()},
    "boltzmann.spins_from_bits": lambda: {"machine": on_square()},
    "boltzmann.systematic_resample": lambda: {"log_weights": torch.zeros(4)},
    "boltzmann.two_sample_test": lambda: {"first": bits(5, 3), "second": bits(4, 3), "num_permutations": 9},
    "datasets.Dataset.from_tensors": lambda: {
        "train": bits(6, 4),
        "valid": bits(2, 4),
        "test": bits(2, 4),
        "image_shape": SHAPE,
        "binarization": "none",
        "num_bins": 2,
    },
    "datasets.Text.from_strings": lambda: {"train": "abc"},
    "datasets.Shards": lambda: {"shards": ["a", "b"], "read": lambda shard, begin: iter(()), "lengths": [3, 4]},
    "datasets.evenly_spaced": lambda: {"total": 10, "count": 3},
    "datasets.hide_labels": lambda: {"data": images(), "fraction": 0.5, "seed": 1},
    "datasets.load": lambda: {"name": "digits"},
    "datasets.pca": lambda: {"data": images(), "components": 2},
    "datasets.resplit": lambda: {"data": images(), "num_train": 4, "num_valid": 2, "seed": 1},
    "datasets.limit_sentences": lambda: {"data": sentences(["a b c", "a"]), "length": 3, "num_symbols": 3},
    "datasets.sentences": lambda: {"train": ["a b"], "valid": ["a"], "test": ["b"], "level": "words"},
    "datasets.stream_batches": lambda: {"sequence": torch.arange(40) % 3, "batch_size": 2, "length": 3},
    "distributions.GEM": lambda: {"concentration": 1.5, "truncation": 4},
    "distributions.AutoregressiveImages": lambda: {
        "net": PixelCNN(SHAPE, 2, 4, 2),
        "context": torch.zeros(3, 2, 2, 2),
        "num_bins": None,
    },
    "distributions.BetaLogit": lambda: ONE,
    "distributions.BoltzmannMachine": machine,
    "distributions.ContinuedBernoulli": lambda: {"logits": torch.zeros(3), "beta": 2.0},
    "distributions.ContinuedBoltzmann": lambda: {"machine": bipartite()},
    "distributions.DiagNormalMixture": lambda: {
        "logits": torch.zeros(3),
        "loc": torch.zeros(3, 2),
        "scale": torch.ones(3, 2),
    },
    "distributions.DiscretizedLogistic": lambda: {"loc": 0.5, "log_scale": -1.0, "num_bins": 8},
    "distributions.ExponentialSmoothing": lambda: {"beta": 3.0},
    "distributions.FactorizedBernoulli": lambda: {"logits": torch.zeros(3)},
    "distributions.GEMLogits": lambda: {"concentration": 1.5, "truncation": 4},
    "distributions.GammaRatioLogit": lambda: ONE,
    "distributions.ContinuedCategorical": lambda: {"logits": torch.zeros(6), "num_states": 3, "beta": 2.0},
    "distributions.FactorizedCategorical": lambda: {"logits": torch.zeros(6), "num_states": 3},
    "distributions.GaussianIntegralBoltzmann": lambda: {
        "machine": d.BoltzmannMachine(on_square()),
        "beta": 20.0,
        "margin": 5.0,
    },
    "distributions.GaussianSmoothing": lambda: {"beta": 3.0, "shift": 0.0},
    "distributions.Hierarchical": lambda: {
        "conditional": lambda earlier: dist.Bernoulli(0.5).expand([2]).to_event(1),
        "sizes": [2, 2],
    },
    "distributions.Implicit": lambda: {"draw": torch.zeros, "batch_shape": [2], "event_shape": [3]},
    "distributions.IsotropicNormalMixture": lambda: {
        "logits": torch.zeros(3),
        "loc": torch.zeros(3, 2),
        "scale": torch.ones(()),
        "log_share": -0.5,
    },
    "distributions.Kumaraswamy": lambda: ONE,
    "distributions.KumaraswamyLogit": lambda: ONE,
    "distributions.LogitNormal": lambda: NORMAL,
    "distributions.LogitOf": lambda: {"fraction": dist.Beta(torch.ones(2), torch.ones(2))},
    "distributions.NegativeBinomialCounts": lambda: {"log_mean": 0.5, "log_inverse_dispersion": 0.5},
    "distributions.NormalLogit": lambda: NORMAL,
    "distributions.OverlappingBernoulli": lambda: {"logits": torch.zeros(3), "smoothing": d.PowerSmoothing(8.0)},
    "distributions.PoissonCounts": lambda: {"log_mean": 0.5},
    "distributions.PowerSmoothing": lambda: {"beta": 8.0},
    "distributions.RecurrentSticks": lambda: {
        "network": StickBreakingRNN(2, 3, max_steps=3),
        "x": torch.zeros(4, 5, 2),
    },
    "distributions.OverlappingCategorical": lambda: {
        "logits": torch.zeros(6),
        "num_states": 3,
        "smoothing": d.PowerSmoothing(8.0),
    },
    "distributions.RelaxedBoltzmann": lambda: {
        "machine": bipartite(),
        "smoothing": d.PowerSmoothing(8.0),
        "num_iterations": 3,
    },
    "distributions.Sentences": lambda: {
        "net": SentenceDecoder(3, 2, 2, 3),
        "context": torch.zeros(4, 2),
        "length": 4,
        "end": 0,
    },
    "distributions.SmallShapeGammaRatio": lambda: {"concentration1": 0.1, "concentration0": 0.2},
    "distributions.SpikeBoltzmann": lambda: {"machine": bipartite(), "beta": 3.0},
    "distributions.SpikeExponential": lambda: {"logits": torch.zeros(3), "beta": 3.0},
    "distributions.StickBreaking": lambda: {"fractions": dist.Beta(torch.ones(3), torch.ones(3)).to_event(1)},
    "distributions.StickLogits": lambda: {"logits": d.NormalLogit(torch.zeros(3), torch.ones(3))},
    "distributions.UniformExponentialSmoothing": lambda: {"beta": 3.0, "epsilon": 0.1},
    "distributions.VisibleBoltzmann": lambda: {"machine": bipartite(), "num_visible": 2},
    "distributions.ZeroInflatedNegativeBinomialCounts": lambda: {
        "log_mean": 0.5,
        "log_inverse_dispersion": 0.5,
        "gate_logits": -1.0,
    },
    "distributions.bits_divergence": lambda: {
        "q": d.Hierarchical(lambda earlier: d.OverlappingBernoulli(torch.zeros(5), POWER).to_event(1), [5]),
        "p": d.RelaxedBoltzmann(bipartite(), POWER),
        "value": torch.full((5,), 0.5),
    },
    "distributions.divergence_given": lambda: {
        "q": dist.Normal(0.0, 1.0),
        "p": dist.Normal(1.0, 1.0),
        "value": torch.zeros(()),
    },
    "distributions.first_sticks": lambda: {"weights": torch.tensor([0.5, 0.25, 0.25]), "count": 2},
    "distributions.fractions_to_weights": lambda: {"fractions": torch.tensor([0.5, 0.5])},
    "distributions.kl_kumaraswamy_beta_series": series,
    "distributions.kl_mixture_bound": lambda: {
        "p": dist.Normal(torch.zeros(2), torch.ones(2)).to_event(1),
        "q": d.DiagNormalMixture(torch.zeros(3), torch.zeros(3, 2), torch.ones(3, 2)),
    },
    "distributions.log_of_weights": lambda: {"weights": torch.tensor([0.5, 0.25, 0.25])},
    "distributions.logits_of": lambda: {"fraction": dist.Beta(1.0, 5.0)},
    "distributions.sticks_to_mass": lambda: {"weights": torch.tensor([0.5, 0.25, 0.25]), "mass": 0.9},
    "distributions.weights_to_fractions": lambda: {"weights": torch.tensor([0.5, 0.25, 0.25])},
}

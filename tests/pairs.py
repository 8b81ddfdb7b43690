"""The pairs that test_pairs.py runs. A new one is a function that builds it, small, and a row of PAIRS."""

import copy
import importlib.util
from functools import partial

import torch
from pyro.infer import (
    RenyiELBO,
    Trace_ELBO,
    TraceMeanField_ELBO,
)
from torch import nn

from pyrodgm import likelihoods, posteriors
from pyrodgm.distributions import (
    GaussianIntegralBoltzmann,
    GaussianSmoothing,
    RelaxedBoltzmann,
)
from pyrodgm.infer import (
    ELBO,
    IWELBO,
    MixtureDensityELBO,
    StratifiedELBO,
    StratifiedIWELBO,
)
from pyrodgm.likelihoods import BernoulliLikelihood
from pyrodgm.models import (
    HVAE,
    VAE,
    BottomUpHVAE,
    CountVAE,
    DensityNetwork,
    SemiSupervisedVAE,
    TopDownVAE,
)
from pyrodgm.nn import CountProfile, Dense, DenseJoint, GatedJoint, Joint, NormalizedDense, StickWeights, joint_mlp, mlp
from pyrodgm.nn.recurrent import SentenceDecoder, SentenceEncoder, SentenceFeatures
from pyrodgm.posteriors import (
    CategoricalPosterior,
    GaussianPosterior,
    LibraryPosterior,
    PrecisionWeightedPosterior,
    StickBreakingPosterior,
)
from pyrodgm.priors import (
    BoltzmannPrior,
    ExemplarPrior,
    GEMPrior,
    LibraryPrior,
    MixtureOfGaussians,
    StandardNormal,
    VampPrior,
)
from pyrodgm.zoo.pairs import (
    Structure,
    conv_hvae,
    dense_dlgmm,
    dense_dpvae,
    dense_hvae,
    dense_two_layer_dlgmm,
    discrete_vae,
    pixel_hvae,
)

D, LATENT, BATCH = 12, 3, 5


def posterior(features=LATENT):
    return GaussianPosterior(mlp(D, [8], 2 * features))


def likelihood(features=LATENT, **kwargs):
    return BernoulliLikelihood(mlp(features, [8], D), **kwargs)


def vae_standard():
    return VAE(StandardNormal(LATENT), likelihood(mean=torch.linspace(0, 1, D)), posterior())


def vae_relu():
    encoder = mlp(D, [8, 8], 2 * LATENT, layer=Dense)
    return VAE(StandardNormal(LATENT), likelihood(), GaussianPosterior(encoder))


def vae_grey():
    net = mlp(LATENT, [8], 2 * D)
    grey = likelihoods.DiscretizedLogisticLikelihood(net, num_bins=2, log_scale_range=(-4.5, -1.5))
    return VAE(StandardNormal(LATENT), grey, posterior())


def vae_flow():
    net = mlp(D, [8], 2 * LATENT + 4)
    q = posteriors.FlowPosterior.autoregressive(net, LATENT, context=4, hidden=[8])
    return VAE(StandardNormal(LATENT), likelihood(), q)


def vae_vamp_flow():
    q = vae_flow().posterior
    return VAE(VampPrior.around_mean(q, 3, torch.full((D,), 0.4), std=0.2), likelihood(), q)


def vae_mixture():
    return VAE(MixtureOfGaussians(LATENT, 4), likelihood(), posterior())


def vae_weighted_mixture():
    return VAE(MixtureOfGaussians(LATENT, 4, learn_weights=True), likelihood(), posterior())


def vae_vamp():
    q = posterior()
    return VAE(VampPrior.around_mean(q, 6, torch.full((D,), 0.4), std=0.2), likelihood(), q)


def vae_vamp_data():
    q = posterior()
    return VAE(VampPrior.from_data(q, 6, torch.rand(20, D), trainable=False), likelihood(), q)


def hvae_standard():
    return dense_hvae(lambda q: StandardNormal(LATENT), D, (2, LATENT), 8)


def hvae_vamp():
    return dense_hvae(lambda q: VampPrior.around_mean(q, 6, torch.full((D,), 0.4), std=0.2), D, (2, LATENT), 8)


def hvae_exemplar():
    images = torch.arange(200.0).remainder(2)[:, None].expand(200, D)
    return dense_hvae(lambda q: ExemplarPrior(q, images, num_neighbours=20), D, (2, LATENT), 8)


def conv_hvae_vamp():
    prior = lambda q: VampPrior.around_mean(q, 6, torch.full((D,), 0.4), std=0.2)  # noqa: E731
    return conv_hvae(prior, (1, 3, 4), (2, LATENT), hidden=8, channels=2)


def pixel_hvae_standard():
    return pixel_hvae(lambda q: StandardNormal(LATENT), (1, 3, 4), (2, LATENT), hidden=8, channels=2, layers=2)


def of_weights(net):
    """A network of stick weights, from their logits."""
    return nn.Sequential(StickWeights(), net)


def vae_sticks(fractions, **kwargs):
    q = StickBreakingPosterior(mlp(D, [8], 2 * LATENT), fractions, concentration=3.0)
    decoder = of_weights(mlp(LATENT + 1, [8], D))
    return VAE(GEMPrior(LATENT + 1, 3.0, **kwargs), BernoulliLikelihood(decoder), q)


def vae_kumaraswamy_sticks():
    return vae_sticks("kumaraswamy")


def vae_beta_sticks():
    return vae_sticks("beta", learn=True)


def vae_gamma_sticks():
    return vae_sticks("gamma")


def vae_logit_normal_sticks():
    return vae_sticks("logit_normal", learn=True, hyperprior=(2.0, 0.5), num_data=20)


def hvae_sticks():
    """Sticks that break under sticks."""
    posterior = StickBreakingPosterior(mlp(D, [8], 2 * LATENT), concentration=3.0)
    lower = Joint([mlp(D, [], 8), of_weights(mlp(LATENT + 1, [], 8))], GatedJoint([8, 8], 8), mlp(8, [], 2))
    decoder = Joint([StickWeights(), StickWeights()], GatedJoint([2, LATENT + 1], 8), mlp(8, [], D))
    conditional_prior = StickBreakingPosterior(of_weights(mlp(LATENT + 1, [8], 2)), "beta")
    conditional_posterior = StickBreakingPosterior(lower, "kumaraswamy", output_scale=1.0)
    parts = BernoulliLikelihood(decoder), posterior, conditional_posterior
    return HVAE(GEMPrior(LATENT + 1, 3.0), conditional_prior, *parts)


def vae_boltzmann_chains():
    relaxation = partial(RelaxedBoltzmann, smoothing=GaussianSmoothing(4.0), num_iterations=5)
    return VAE(BoltzmannPrior(1, 2, relaxation, "pcd", 30, 1), likelihood(), posterior())


def vae_boltzmann_population():
    relaxation = partial(GaussianIntegralBoltzmann, beta=4.0, margin=1.0)
    return VAE(BoltzmannPrior(2, 1, relaxation, "pa", 30, 2), likelihood(), posterior())


def dvae(method, groups, size, beta, **machine):
    """In evaluation mode, since normalisation over a batch makes its data depend on each other."""
    structure = Structure(groups, size, (8,))
    return discrete_vae(method, structure, torch.full((D,), 0.4), beta, sampler="exact", **machine).eval()


def dvae_spike_exp():
    return dvae("dvae_spike_exp", 2, 2, 3.0)


def dvaes_gi():
    return dvae("dvaes_gi", 2, 2, 8.0)


def dvaes_power():
    return dvae("dvaes_power", 2, 2, 3.0)


def dvaes_states():
    return dvae("dvaes_power", 1, 2, 3.0, num_states=3)


def vae_mixture_posterior():
    q = posteriors.GaussianMixturePosterior(mlp(D, [8], 3 * (1 + 2 * LATENT)), 3)
    return VAE(StandardNormal(LATENT), likelihood(), q)


def vae_mixture_prior_and_posterior():
    return VAE(MixtureOfGaussians(LATENT, 4, learn_weights=True), likelihood(), vae_mixture_posterior().posterior)


def dlgmm():
    return dense_dlgmm(D, num_components=3, latent=LATENT, hidden=(8,))


def dlgmm_learned():
    return dense_dlgmm(D, num_components=3, latent=LATENT, hidden=(8,), components="learned")


def dpvae():
    return dense_dpvae(D, truncation=4, latent=LATENT, hidden=(8,), components="spread")


def two_layer_dlgmm():
    return dense_two_layer_dlgmm(D, num_components=3, latents=(LATENT, 2), hidden=(8,))


def density_network():
    return DensityNetwork(MixtureOfGaussians(LATENT, 3, learn_weights=True), likelihood())


def bottom_up_hvae():
    upper = GaussianPosterior(mlp(LATENT, [8], 2 * 2))
    return BottomUpHVAE(StandardNormal(2), GaussianPosterior(mlp(2, [8], 2 * LATENT)), likelihood(), posterior(), upper)


def ladder():
    """In evaluation mode, since normalisation over a batch makes its data depend on each other."""
    prior = GaussianPosterior(mlp(2, [6], 2 * LATENT, layer=NormalizedDense))
    evidence = GaussianPosterior(mlp(8, [], 2 * LATENT))
    up = nn.Sequential(NormalizedDense(D, 8), NormalizedDense(8, 6), GaussianPosterior(mlp(6, [], 2 * 2)))
    ladder = PrecisionWeightedPosterior(evidence, prior)
    return TopDownVAE(MixtureOfGaussians(2, 3), [prior], likelihood(), up, [ladder]).eval()


def semi_supervised():
    encoder, head = Dense(D, 6), joint_mlp([6, 3], [8], 2 * LATENT)
    decoder, classifier = joint_mlp([LATENT, 3], [8], D), CategoricalPosterior(mlp(6, [], 3))
    parts = StandardNormal(LATENT), BernoulliLikelihood(decoder), classifier, GaussianPosterior(head)
    return SemiSupervisedVAE(*parts, num_classes=3, encoder=encoder)


def semi_supervised_sticks():
    head, decoder = (
        mlp(D, [8], 2 * LATENT),
        Joint([StickWeights(), nn.Identity()], DenseJoint([LATENT + 1, 3], 8), mlp(8, [], D)),
    )
    parts = GEMPrior(LATENT + 1, 3.0), BernoulliLikelihood(decoder), CategoricalPosterior(mlp(D, [8], 3))
    sticks = StickBreakingPosterior(head, "kumaraswamy", concentration=3.0)
    return SemiSupervisedVAE(*parts, sticks, num_classes=3, posterior_sees_label=False)


def count_vae():
    q = posterior()
    counts = (torch.arange(D) < torch.tensor([[2], [5], [8], [12]])).to(torch.get_default_dtype())
    likelihood = likelihoods.NegativeBinomialLikelihood(mlp(LATENT, [8], 2 * D), D, zero_inflated=True)
    prior, encoder = VampPrior.around_mean(q, 6, torch.full((D,), 0.4), std=0.2), nn.Sequential(CountProfile(8.0), q)
    return CountVAE(prior, likelihood, encoder, LibraryPrior(counts), LibraryPosterior(mlp(D, [8], 2)))


def sentence_vae():
    """Sentences of three symbols, of which the last ends them."""
    features, q = SentenceFeatures(3, 4), GaussianPosterior(SentenceEncoder(4, 8, 2 * LATENT))
    rows = torch.tensor([[0, 1, 0, 2] + 8 * [-1], 12 * [1], [1, 2] + 10 * [-1]])
    decoder = SentenceDecoder(3, LATENT, 4, 8, "gru")
    sentences = likelihoods.SentenceLikelihood(nn.Identity(), decoder, D, end=2)
    return VAE(VampPrior(q, features(rows), bounded=False), sentences, nn.Sequential(features, q))


PAIRS = [
    vae_standard,
    vae_relu,
    vae_grey,
    *([vae_flow, vae_vamp_flow] if importlib.util.find_spec("zuko") else []),
    vae_mixture,
    vae_weighted_mixture,
    vae_vamp,
    vae_vamp_data,
    hvae_standard,
    hvae_vamp,
    vae_kumaraswamy_sticks,
    vae_beta_sticks,
    vae_gamma_sticks,
    vae_logit_normal_sticks,
    hvae_sticks,
    hvae_exemplar,
    vae_mixture_posterior,
    vae_mixture_prior_and_posterior,
    dlgmm,
    dlgmm_learned,
    dpvae,
    two_layer_dlgmm,
    density_network,
    bottom_up_hvae,
    conv_hvae_vamp,
    pixel_hvae_standard,
    vae_boltzmann_chains,
    vae_boltzmann_population,
    count_vae,
    sentence_vae,
    ladder,
    semi_supervised,
    semi_supervised_sticks,
    dvae_spike_exp,
    dvaes_gi,
    dvaes_power,
    dvaes_states,
]

# What a pair, or a class of them, cannot do, as its docstring says: the estimators that refuse it, and how.
REFUSALS = {
    dvae_spike_exp: dict.fromkeys(
        (Trace_ELBO, RenyiELBO, IWELBO, StratifiedIWELBO),
        (RuntimeError, "point of mass at 0 has no gradient with respect to a draw"),
    ),
    SemiSupervisedVAE: {
        TraceMeanField_ELBO: (NotImplementedError, "must be fully reparameterized"),
        **dict.fromkeys(
            (IWELBO, StratifiedELBO, StratifiedIWELBO),
            (ValueError, "site 'y' is Categorical, which has no rsample"),
        ),
    },
}
# The parts that an estimator does not train: Pyro's Rényi bound has no gradient for what is drawn, not reparametrised.
UNTRAINED = {SemiSupervisedVAE: {RenyiELBO: ("classifier",)}}

# The pairs of counts, whose bound on two rows of bits is lower: they give mass to larger counts.
COUNTS = (count_vae,)

# The pairs of symbols, whose draws have an end of 2, and -1 after it.
SYMBOLS = (sentence_vae,)


# What a pair is made for, where that is not the ELBO.
OBJECTIVES = {
    dlgmm_learned: MixtureDensityELBO(),
    dpvae: MixtureDensityELBO(pairing="own"),
    two_layer_dlgmm: MixtureDensityELBO(),
    density_network: IWELBO(30),
    vae_mixture_posterior: StratifiedELBO(),
    vae_mixture_prior_and_posterior: StratifiedIWELBO(2),
}


def objective_of(build):
    return copy.deepcopy(OBJECTIVES.get(build, ELBO()))

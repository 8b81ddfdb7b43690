"""Links to pages of PyTorch and Pyro from inventories that are written when the site is built: no download.

Sphinx reads lists of names and addresses (``objects.inv``) of other projects from files; those of the two libraries are
not in their packages, so the names that these pages use stand here, by their public names and those of their modules.
"""

import zlib
from pathlib import Path

from sphinx.application import Sphinx

TORCH = "https://docs.pytorch.org/docs/stable/"
PYRO = "https://docs.pyro.ai/en/stable/"

# kind, address, the name there, and other names under which it is used
NAMES: dict[str, list[tuple[str, str, str, tuple[str, ...]]]] = {
    TORCH: [
        ("class", "tensors.html", "torch.Tensor", ()),
        ("class", "size.html", "torch.Size", ()),
        ("class", "tensor_attributes.html", "torch.device", ()),
        ("class", "tensor_attributes.html", "torch.dtype", ()),
        ("class", "data.html", "torch.utils.data.Dataset", ("torch.utils.data.dataset.Dataset",)),
        ("class", "data.html", "torch.utils.data.DataLoader", ("torch.utils.data.dataloader.DataLoader",)),
        ("class", "optim.html", "torch.optim.Optimizer", ("torch.optim.optimizer.Optimizer",)),
        (
            "function",
            "distributions.html",
            "torch.distributions.kl.kl_divergence",
            ("torch.distributions.kl_divergence",),
        ),
        (
            "class",
            "distributions.html",
            "torch.distributions.distribution.Distribution",
            ("torch.distributions.Distribution",),
        ),
        *(
            ("class", f"generated/{name}.html", name, aliases)
            for name, aliases in (
                ("torch.nn.Module", ("torch.nn.modules.module.Module",)),
                ("torch.nn.Identity", ("torch.nn.modules.linear.Identity",)),
                ("torch.nn.Linear", ("torch.nn.modules.linear.Linear",)),
                ("torch.nn.Sequential", ("torch.nn.modules.container.Sequential",)),
                ("torch.optim.Adam", ("torch.optim.adam.Adam",)),
                ("torch.optim.lr_scheduler.LRScheduler", ()),
            )
        ),
    ],
    PYRO: [
        ("class", "inference_algos.html", "pyro.infer.elbo.ELBO", ("pyro.infer.ELBO",)),
        ("class", "inference_algos.html", "pyro.infer.svi.SVI", ("pyro.infer.SVI",)),
        ("class", "inference_algos.html", "pyro.infer.predictive.Predictive", ("pyro.infer.Predictive",)),
        ("function", "inference_algos.html", "pyro.infer.importance.psis_diagnostic", ()),
        ("function", "inference_algos.html", "pyro.infer.importance.vectorized_importance_weights", ()),
        ("class", "mcmc.html", "pyro.infer.mcmc.NUTS", ("pyro.infer.NUTS",)),
        ("class", "infer.autoguide.html", "pyro.infer.autoguide.AutoContinuous", ()),
        ("class", "nn.html", "pyro.nn.module.PyroModule", ("pyro.nn.PyroModule",)),
        ("class", "nn.html", "pyro.nn.module.PyroParam", ("pyro.nn.PyroParam",)),
        ("function", "primitives.html", "pyro.primitives.factor", ("pyro.factor",)),
        ("function", "poutine.html", "pyro.infer.enum.config_enumerate", ("pyro.infer.config_enumerate",)),
        (
            "class",
            "distributions.html",
            "pyro.distributions.torch_distribution.TorchDistribution",
            ("pyro.distributions.TorchDistribution",),
        ),
    ],
}


def _write(path: Path, project: str, rows: list[tuple[str, str, str, tuple[str, ...]]]) -> None:
    lines = [
        f"{name} py:{kind} 1 {page}#{anchor} -\n" for kind, page, anchor, others in rows for name in (anchor, *others)
    ]
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# The rest is compressed by zlib.\n"
    path.write_bytes(head.encode() + zlib.compress("".join(lines).encode()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the inventories and name them to intersphinx."""
    folder = Path(app.doctreedir).parent / "inventories"
    folder.mkdir(parents=True, exist_ok=True)
    mapping = {}
    for name, address in (("torch", TORCH), ("pyro", PYRO)):
        _write(folder / f"{name}.inv", name, NAMES[address])
        mapping[name] = (address, str(folder / f"{name}.inv"))
    app.config.intersphinx_mapping = mapping
    return {"parallel_read_safe": True, "parallel_write_safe": True}

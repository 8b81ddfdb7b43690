"""The reference names everything public, and the checks of the pages see what is wrong."""

import importlib
import importlib.util
import re

import pytest
from fresh_process import ROOT

ELSEWHERE = {  # names that one more room exports
    "posteriors": {"RecurrentSticks"},
    "likelihoods": {"GreyBernoulli"},
    "figures": {"boltzmann_prior", "latent_mixture", "mixture_prior", "seeds", "sticks"},
}


def load_script(path):
    spec = importlib.util.spec_from_file_location(path.stem, ROOT / "docs" / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ROOMS = (
    "boltzmann",
    "datasets",
    "distributions",
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
)


@pytest.mark.parametrize("room", ROOMS)
def test_reference_has_every_public_name(room):
    text = (ROOT / "docs" / "reference" / f"{room.split('.')[-1]}.md").read_text()
    tables = re.findall(
        rf"currentmodule:: pyrodgm\.{room}\n\n\.\. autosummary::\n   :nosignatures:\n\n((?:   \w+\n)+)", text
    )
    listed = " ".join(tables).split()
    public = set(importlib.import_module(f"pyrodgm.{room}").__all__) - ELSEWHERE.get(room, set())
    assert len(listed) == len(set(listed))
    assert set(listed) == public


def test_the_vae_comes_first():
    text = (ROOT / "docs" / "reference" / "models.md").read_text()
    assert text.index("   VAE\n") < text.index("   DLGMM\n")


def test_faults_of_pages_are_found(tmp_path):
    site = load_script(ROOT / "docs" / "_checks" / "site.py")
    fine = '<h1 id="top">a</h1><h2>b</h2><img src="p.png" alt="p"><a href="b.html#there">b</a><a href="https://x.org">x</a>'
    (tmp_path / "p.png").write_bytes(b"")
    (tmp_path / "a.html").write_text(fine)
    (tmp_path / "b.html").write_text('<h1 id="there">b</h1><a href="a.html#top">a</a>')
    assert site.problems(tmp_path) == []
    for added, fault in (
        ('<a href="c.html">c</a>', "links to c.html, which is missing"),
        ('<a href="b.html#elsewhere">c</a>', "links to b.html#elsewhere, whose anchor is missing"),
        ('<script src="https://x.org/x.js"></script>', "loads https://x.org/x.js"),
        ('<img src="p.png">', "1 pictures without a text"),
        ("<h4>c</h4>", "leaves out a level of headings"),
    ):
        (tmp_path / "a.html").write_text(fine + added)
        (found,) = site.problems(tmp_path)
        assert fault in found

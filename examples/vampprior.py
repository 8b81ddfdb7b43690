"""VAEs of one and two stochastic layers with several priors; pyrodgm/zoo/vampprior.py describes them.

python examples/vampprior.py --data static_mnist --model hvae --prior vampprior
python examples/evaluate.py runs/static_mnist-hvae-vampprior-14
python examples/vampprior.py --data static_mnist --model pixelhvae --device cuda  # on a CPU, hours per epoch
python examples/vampprior.py --data caltech101_silhouettes --objective iwelbo --particles 5
python examples/vampprior.py --data frey_faces --prior standard --posterior flow
"""

from pyrodgm.cli import train

if __name__ == "__main__":
    train("vampprior")

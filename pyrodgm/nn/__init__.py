"""Network blocks with no probability in them; all act on the rightmost dimension and broadcast over the others."""

from pyrodgm.nn.dense import Dense, GatedDense, mlp
from pyrodgm.nn.joint import GatedJoint, Joint

__all__ = ["Dense", "GatedDense", "GatedJoint", "Joint", "mlp"]

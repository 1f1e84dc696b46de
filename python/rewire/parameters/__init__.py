"""Parameters and buffers: what layers declare, and all others work on."""

from rewire.parameters.base import Parameter
from rewire.parameters.buffer import Buffer
from rewire.parameters.dense import DenseParameter
from rewire.parameters.field import Field
from rewire.parameters.sparse import SparseParameter
from rewire.parameters.units import Rescale

__all__ = ["Buffer", "DenseParameter", "Field", "Parameter", "Rescale", "SparseParameter"]

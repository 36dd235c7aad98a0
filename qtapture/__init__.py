"""Record what processes say over the network with eBPF, and replay it into open formats."""

__version__ = "0.1.0"
__all__ = ["__version__"]

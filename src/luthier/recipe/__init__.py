"""What a run is: one frozen schema; every setting is described here, in English and Chinese, and nowhere else."""

from luthier.recipe.recipe import Recipe

__all__ = ["Recipe"]

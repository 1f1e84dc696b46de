"""Objects whose constructor's arguments can be read and changed by name, as scikit-learn's tools do.

That is what makes ``set_params(optimizer__lr=0.5)`` and grids over ``rewiring__fraction`` work. scikit-learn
itself is not needed.
"""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

from rewire import _checks

__all__ = ["Parameters"]


class Parameters:
    """``get_params`` and ``set_params`` for a class that keeps each argument as an attribute of its name."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments, as they are now.

        Parameters
        ----------
        deep : bool
            As in scikit-learn; there is nothing deeper.

        Returns
        -------
        dict of str to object
        """
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def set_params(self, **params: Any) -> Self:
        """Change arguments; everything is checked as by the constructor before anything changes.

        Parameters
        ----------
        **params
            By the names of the constructor.

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For a name that the constructor does not have, or a wrong value.
        """
        now = self.get_params()
        for name in params:
            if name not in now:
                raise _checks.unknown_argument(type(self).__name__, name, now, {})
        if params:
            self.__dict__.update(type(self)(**{**now, **params}).__dict__)
        return self

    def __sklearn_clone__(self) -> Self:
        return copy.deepcopy(self)

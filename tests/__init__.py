"""The tests. A process that imports one of their modules, and is not pytest's, does without what
only pytest's needs: pytest itself, and what the tests ask of private parts of the package."""

from tests import late_internals, without_pytest

if without_pytest.stand_in():
    late_internals.stand_in()

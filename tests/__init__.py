"""The tests. A process that imports one of their modules, and is not pytest's, does without it."""

from tests.without_pytest import stand_in

stand_in()

"""Benchmarks: ``python -m benchmarks`` runs all, ``python -m benchmarks.call`` one of them."""

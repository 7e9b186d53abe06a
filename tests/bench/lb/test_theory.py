"""Closed forms against each other, and against figures that are printed in books."""

import pytest

from bench.lb import theory


def test_erlang_c_matches_published_tables() -> None:
    assert theory.erlang_c(1, 0.5) == pytest.approx(0.5)
    assert theory.erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert theory.erlang_c(10, 8.0) == pytest.approx(0.409, abs=0.001)


def test_one_server_is_m_m_1() -> None:
    assert theory.mm_wait_mean(1, 0.8, 1.0) == pytest.approx(0.8 / 0.2)
    assert theory.mg1_wait_mean(0.8, 1.0, 1.0) == pytest.approx(0.8 / 0.2)
    # the response of M/M/1 is exponential: its p99 is ln(100) means
    assert theory.mm_response_quantile(1, 0.8, 1.0, 0.99) == pytest.approx(4.60517 * 5, rel=1e-4)


def test_design_limits() -> None:
    """An M/M/64 queue: 16 loaders of 4 slots, 20 ms service time, load 0.9."""
    assert theory.mm_response_quantile(64, 0.9, 20.0, 0.99) == pytest.approx(93.2, abs=0.1)
    assert theory.mm_response_quantile(64, 0.9, 20.0, 0.999) == pytest.approx(139.3, abs=0.1)
    assert theory.mm_wait_quantile(64, 0.9, 20.0, 0.99) == pytest.approx(10.7, abs=0.1)
    assert theory.mm_wait_quantile(64, 0.1, 20.0, 0.5) == 0.0


def test_constant_service_time_halves_the_wait() -> None:
    assert theory.mg1_wait_mean(0.5, 1.0, 0.0) == theory.mg1_wait_mean(0.5, 1.0, 1.0) / 2

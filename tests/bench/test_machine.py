"""The counters of a processor, as `perf stat` writes them."""

from bench.machine import parse_perf_stat


def test_counts_of_perf() -> None:
    output = "1234,,instructions:u,1000,100.00,0.9,insn per cycle\n5,,cache-misses,1000,100.00,,\n"
    assert parse_perf_stat(output) == {"instructions:u": 1234, "cache-misses": 5}


def test_a_machine_without_counters() -> None:
    output = "<not supported>,,instructions,0,100.00,,\n<not counted>,,cache-misses,0,0.00,,\n\n"
    assert parse_perf_stat(output) == {}

"""Side-by-side measurements. Never imported by the product; run as python -m bench.NAME."""

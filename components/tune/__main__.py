"""python -m components.tune."""

from components.tune import main

if __name__ == "__main__":
    raise SystemExit(main())

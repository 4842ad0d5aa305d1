"""python -m components.register."""

from components.register import main

if __name__ == "__main__":
    raise SystemExit(main())

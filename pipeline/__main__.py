"""python -m pipeline COMMAND: everything a person types."""

import sys


def main() -> int:
    """Run the command line, or say how to get the environment that it needs."""
    try:
        from pipeline import cli
    except ModuleNotFoundError as error:
        text = f"error: the package {error.name} is not installed for {sys.executable}."
        print(text, "Run `make install`, then `. .venv/bin/activate`.", sep="\n", file=sys.stderr)
        return 1
    return cli.main()


if __name__ == "__main__":
    raise SystemExit(main())

"""Load a stored model in a process of its own and let it answer.

Run by path, so that this checkout is not importable: all code comes out of the package.
Argument: the package's folder. Input: a JSON list of base64 images. Last line of output: the
answers as JSON.
"""

import json
import sys

from mlflow import pyfunc


def main() -> None:
    """Read the images, print the answers."""
    model = pyfunc.load_model(sys.argv[1])
    print(json.dumps(model.predict(json.load(sys.stdin))))


if __name__ == "__main__":
    main()

"""Load a stored model in a process of its own, without network, and predict a few images.

Run by path, so that this checkout is not importable: all code comes out of the package. Argument:
the package's folder. Input: a JSON list of base64 images. Last line of output: the predictions as
JSON.
"""

import json
import sys

# Audit events of Python's own calls; what compiled code or a process of its own does, raises none.
_FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")

_attempts: list[str] = []


def refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Audit hook: raise on a forbidden event, and remember it should the error be swallowed."""
    if event in _FORBIDDEN:
        _attempts.append(f"{event} {arguments!r}"[:200])
        raise PermissionError(f"a model may not use the network: {_attempts[-1]}")


def main() -> None:
    """Read the images, print the predictions."""
    from mlflow import pyfunc

    sys.addaudithook(refuse)
    model = pyfunc.load_model(sys.argv[1])
    predictions = json.dumps(model.predict(json.load(sys.stdin)))
    if _attempts:
        sys.exit(f"a model may not use the network: {_attempts[0]}")
    print(predictions)


if __name__ == "__main__":
    main()

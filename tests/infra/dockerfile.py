"""Rules that infra/Dockerfile must keep. A rule takes its text and says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

Rule = Callable[[str], list[str]]
TARGETS = ("cpu", "cuda")
SYSTEM_PACKAGES = {"git", "libgomp1"}


def instructions(text: str) -> list[tuple[str, str]]:
    """(KEYWORD, rest) of each instruction, with continued lines joined and comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = (line.split(maxsplit=1) for line in joined.splitlines() if line.strip())
    return [(pair[0].upper(), pair[1]) for pair in pairs]


def of_keyword(text: str, keyword: str) -> list[str]:
    return [rest for found, rest in instructions(text) if found == keyword]


def stages(text: str) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Name -> what it builds on and its instructions."""
    found: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    name = ""
    for keyword, rest in instructions(text):
        if keyword == "FROM":
            parent, _, name = rest.partition(" AS ")
            found[name] = (parent, [])
        elif name:
            found[name][1].append((keyword, rest))
    return found


def lineage(text: str, name: str) -> list[tuple[str, str]]:
    """The instructions of a stage and of all stages that it builds on."""
    known = stages(text)
    chain: list[tuple[str, str]] = []
    while name in known:
        parent, mine = known[name]
        chain, name = [*mine, *chain], parent
    return chain


def base_is_an_argument_without_latest(text: str) -> list[str]:
    bases = {parent for parent, _ in stages(text).values()} - set(stages(text))
    default = [rest for rest in of_keyword(text, "ARG") if rest.startswith("BASE_IMAGE=")]
    faults = [f"FROM {base}: is not ${{BASE_IMAGE}}" for base in bases - {"${BASE_IMAGE}"}]
    vague = [rest for rest in default if rest.endswith(":latest") or ":" not in rest]
    faults += [f"{rest}: has no version" for rest in vague]
    return faults + ([] if default else ["BASE_IMAGE has no default"])


def stages_have_names(text: str) -> list[str]:
    unnamed = [rest for rest in of_keyword(text, "FROM") if " AS " not in rest]
    missing = [name for name in TARGETS if name not in stages(text)]
    return [f"FROM {rest}: has no name" for rest in unnamed] + [f"no stage {m}" for m in missing]


def old_builders_understand_it(text: str) -> list[str]:
    """No frontend from a registry, no heredocs, no linked copies."""
    marks = {"# syntax=": r"^#\s*syntax=", "heredoc": r"<<-?\s*\w", "--link": r"COPY .*--link"}
    return [name for name, mark in marks.items() if re.search(mark, text, re.MULTILINE)]


def user_is_a_number(text: str) -> list[str]:
    faults = []
    for target in TARGETS:
        users = [rest for keyword, rest in lineage(text, target) if keyword == "USER"]
        if not users or not re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]):
            faults.append(f"{target}: its user is {users[-1:]}, not two numbers above 0")
    return faults


def command_is_a_list_without_entry_point(text: str) -> list[str]:
    faults = ["ENTRYPOINT"] if of_keyword(text, "ENTRYPOINT") else []
    commands = of_keyword(text, "CMD")
    faults += [f"CMD {rest}: a shell would get the signals" for rest in commands if rest[0] != "["]
    return faults if commands else [*faults, "no CMD"]


def system_packages_are_few_and_their_lists_go(text: str) -> list[str]:
    faults = []
    for rest in of_keyword(text, "RUN"):
        for words in re.findall(r"apt-get install ([^&|;]*)", rest):
            packages = {word for word in words.split() if not word.startswith("-")}
            faults += [f"{name}: is not needed" for name in packages - SYSTEM_PACKAGES]
            if "--no-install-recommends" not in words:
                faults.append("recommended packages are installed")
            if "rm -rf /var/lib/apt/lists/*" not in rest:
                faults.append("the lists of apt stay")
    return faults


def packages_come_by_hash(text: str) -> list[str]:
    """All but torch for CPUs: its wheels are not on the default index, and not in the lock."""
    for_cpus = '"torch==${TORCH}" "torchvision==${TORCHVISION}"'
    installs = [rest for rest in of_keyword(text, "RUN") if re.search(r"pip .* ?install ", rest)]
    return [
        f"{rest[-60:]}: without hashes"
        for rest in installs
        if "--require-hashes" not in rest and not rest.endswith(for_cpus)
    ]


def what_builds_stays_behind(text: str) -> list[str]:
    """The targets install nothing with pip themselves."""
    return [
        f"{target}: {rest[:40]}"
        for target in TARGETS
        for keyword, rest in lineage(text, target)
        if keyword == "RUN" and "pip" in rest
    ]


def nothing_is_added_from_afar(text: str) -> list[str]:
    adds = [f"ADD {rest}" for rest in of_keyword(text, "ADD")]
    return adds + re.findall(r"https?://\S+", "\n".join(of_keyword(text, "RUN")))


def labels_tell_version_and_revision(text: str) -> list[str]:
    expected = ('version="${VERSION}"', 'revision="${REVISION}"')
    labels = {
        target: " ".join(rest for keyword, rest in lineage(text, target) if keyword == "LABEL")
        for target in TARGETS
    }
    return [
        f"{target}: no label {label}"
        for target, there in labels.items()
        for label in expected
        if f"org.opencontainers.image.{label}" not in there
    ]


RULES: tuple[Rule, ...] = (
    base_is_an_argument_without_latest,
    stages_have_names,
    old_builders_understand_it,
    user_is_a_number,
    command_is_a_list_without_entry_point,
    system_packages_are_few_and_their_lists_go,
    packages_come_by_hash,
    what_builds_stays_behind,
    nothing_is_added_from_afar,
    labels_tell_version_and_revision,
)

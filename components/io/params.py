"""params.yaml to typed values: the only source of settings, refused as a whole when one is wrong.

A step declares what it reads as a frozen dataclass whose field names are section names:

    @dataclass(frozen=True, kw_only=True)
    class Params:
        data: ImageParams
        train: TrainParams
"""

import dataclasses
import difflib
import json
import math
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from components.core.errors import InvalidParams
from components.io.yaml_file import read_yaml as read_yaml  # params.read_yaml, to all others

P = TypeVar("P")

# Old name -> new name, for people who come with a params.yaml of their own.
RENAMED: Mapping[str, str] = {
    "data.fit": "data.resize_mode",
    "validate.near_duplicate_bits": "validate.near_duplicates.max_hamming_distance",
    "validate.near_duplicate_likeness": "validate.near_duplicates.min_similarity",
    "validate.max_aspect": "validate.max_aspect_ratio",
    "validate.warn_only": "validate.warning_rules",
    "training.warmup": "training.warmup_fraction",
    "training.any_way_up": "training.rotate_90",
    "tune.trials": "tune.num_trials",
    "tune.seconds": "tune.timeout_seconds",
    "tune.train_share": "tune.train_fraction",
    "register.gate.confidence": "register.gate.confidence_level",
    "register.gate.against_champion": "register.gate.champion_test",
    "register.gate.margin": "register.gate.non_inferiority_margin",
    "register.gate.max_class_loss": "register.gate.max_class_recall_drop",
    "register.gate.max_gain": "register.gate.max_accuracy_gain",
    "register.gate.free_test_uses": "register.gate.max_test_set_uses",
    "cluster.study_secret": "cluster.optuna_secret",
    "cluster.authority_secret": "cluster.ca_secret",
}

# Old name -> why there is nothing to set any more.
REMOVED: Mapping[str, str] = dict.fromkeys(
    ("training.progressive_resizing_start", "training.first_image_size"),
    "every epoch has images of model.image_size",
)


def sections(params: type[P]) -> dict[str, type[BaseModel]]:
    """Section name -> model class that `params` (a dataclass) reads."""
    hints = typing.get_type_hints(params)
    return {f.name: hints[f.name] for f in dataclasses.fields(params)}  # type: ignore[arg-type]


def load(path: Path, params: type[P]) -> P:
    """Read the sections that `params` names. Raises `InvalidParams` with every wrong setting."""
    values, problems = _parse(read_yaml(path), sections(params))
    _refuse(path.name, problems)
    return params(**values)


def check(path: Path, known: Mapping[str, type[BaseModel]]) -> None:
    """Check the whole file against all known sections; an unknown section is an error too."""
    raw = read_yaml(path)
    unknown = [f"{name} is not a section.{_hint(name, known)}" for name in raw if name not in known]
    _refuse(path.name, unknown + _parse(raw, known)[1])


def allowed(kind: type[BaseModel], name: str) -> str:
    """What a setting of a section may be, in words: `'tuned' or a number from 1.0e-06 to 0.1`."""
    root = kind.model_json_schema()
    return _describe(root["properties"][name], root)


def _parse(
    raw: Mapping[str, Any], known: Mapping[str, type[BaseModel]]
) -> tuple[dict[str, Any], list[str]]:
    """The sections that are right, and the problems of the others."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, kind in known.items():
        if name not in raw:
            problems.append(_missing(f"section {name}"))
            continue
        # Strict, and by way of JSON: text is no number and `true` is no 1, but a list is a pair.
        content = json.dumps(raw[name], default=str)
        try:
            values[name] = kind.model_validate_json(content, strict=True)
        except ValidationError as error:
            # Each branch of a choice complains: one problem per place is enough, our words first.
            order = ["extra_forbidden", "value_error"]
            by_place: dict[str, str] = {}
            for e in sorted(error.errors(), key=lambda e: e["type"] not in order):
                place, problem = _explain(name, kind, raw[name], e["loc"], e["msg"])
                by_place.setdefault(place, problem)
            problems += _without_echoes(by_place)
    return values, problems


def _without_echoes(by_place: Mapping[str, str]) -> list[str]:
    """The problems, without "new is missing" where "is now new" or "Did you mean new?" says it."""
    renamed = [RENAMED[place] for place in by_place if place in RENAMED]
    return [
        problem
        for place, problem in by_place.items()
        if problem != _missing(place)
        or not (
            any(f"{new}.".startswith(f"{place}.") for new in renamed)
            or any(f"Did you mean {place}?" in other for other in by_place.values())
        )
    ]


def _missing(place: str) -> str:
    return f"{place} is missing; add it."


def _refuse(where: str, problems: list[str]) -> None:
    """Raise, with a line for each of several problems."""
    if len(problems) == 1:
        raise InvalidParams(f"{where}: {problems[0]}")
    if problems:
        raise InvalidParams("\n  ".join([f"{where}: {len(problems)} mistakes", *problems]))


def _explain(
    place: str, kind: type[BaseModel], found: object, location: Iterable[object], message: str
) -> tuple[str, str]:
    """The setting that one pydantic error is about, and the problem in our words."""
    root = kind.model_json_schema()
    schema: Mapping[str, Any] = root
    for part in location:
        settings = schema.get("properties")
        if settings is None or not isinstance(found, dict):
            break  # inside a list or a choice, which is explained as a whole
        outer, place = place, f"{place}.{part}"
        if part not in settings:
            return place, f"{place} {_unknown(place, str(part), settings, outer)}"
        if part not in found:
            return place, _missing(place)
        schema, found = _resolve(settings[part], root), found[part]
        schema = _given_settings(schema, found, root)
    ours, is_ours = message.removeprefix("Value error, "), message.startswith("Value error, ")
    if is_ours and schema is root:  # about several settings together
        return place, f"{place}: {ours}."
    expected = ours if is_ours else _describe(schema, root)
    if isinstance(found, str) and "number" in expected and _is_number(found):
        number = int(found) if found.isdecimal() else float(found)
        text = f"{place} is the text {found!r}, not a number; write it as {_digits(number)}."
        return place, text
    return place, f"{place} is {_show(found)}; it should be {expected}."


def _unknown(place: str, part: str, settings: Iterable[str], outer: str) -> str:
    """What is wrong with a setting that does not exist, or does not exist any more."""
    if place in RENAMED:
        return f"is now {RENAMED[place]}; rename it."
    if place in REMOVED:
        return f"is gone, {REMOVED[place]}; remove the line."
    return f"is not a setting.{_hint(part, settings, outer)}"


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").removeprefix("#/$defs/")
    return typing.cast(Mapping[str, Any], root["$defs"][name]) if name else schema


def _given_settings(
    schema: Mapping[str, Any], found: object, root: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Of settings that may also be null: the settings, if there are any in the file."""
    branches = [_resolve(branch, root) for branch in schema.get("anyOf", ())]
    settings = [branch for branch in branches if "properties" in branch]
    return settings[0] if settings and isinstance(found, dict) else schema


def _describe(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """What a JSON schema allows, in words: 'tuned' or a number from 1.0e-06 to 0.1."""
    schema = _resolve(schema, root)
    if "anyOf" in schema:
        return _alternatives(_describe(branch, root) for branch in schema["anyOf"])
    if "const" in schema:
        return repr(schema["const"])
    if "enum" in schema:
        return _alternatives(map(repr, schema["enum"]))
    match schema["type"]:
        case "array" if "prefixItems" in schema:
            items = [_describe(item, root) for item in schema["prefixItems"]]
            return f"a list of {len(items)}, each {_alternatives(dict.fromkeys(items))}"
        case "array":
            return f"a list of {_describe(schema['items'], root)}"
        case "object" if "properties" in schema:
            return f"settings: {', '.join(schema['properties'])}"
        case "object":
            names = _describe(schema.get("propertyNames", {"type": "string"}), root)
            return f"{names}, each with {_describe(schema['additionalProperties'], root)}"
        case _:
            return _describe_value(schema)


def _alternatives(texts: Iterable[str]) -> str:
    *others, last = texts
    return f"{', '.join(others)} or {last}" if others else last


_NOUNS = {
    "number": "a number",
    "integer": "a whole number",
    "string": "text",
    "boolean": "true or false",
}

_BOUNDS = {
    "minimum": "from",
    "exclusiveMinimum": "above",
    "maximum": "to",
    "exclusiveMaximum": "below",
    "multipleOf": "in steps of",
    "minLength": "of length at least",
    "pattern": "that matches",
}


def _describe_value(schema: Mapping[str, Any]) -> str:
    words = [_NOUNS.get(schema["type"], schema["type"])]
    for key, word in _BOUNDS.items():
        if key in schema:
            words += [word, schema[key] if key == "pattern" else _digits(schema[key])]
    return " ".join(words)


def _digits(number: float) -> str:
    """A number as every YAML reader takes it: 1.0e-05, because 1e-05 is text to some."""
    text = repr(number)
    return text if "." in text else text.replace("e", ".0e")


def _show(found: object) -> str:
    """A value as it stands in the file, at most some 60 characters of it."""
    text = repr(found) if isinstance(found, str) else json.dumps(found, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _hint(name: str, known: Iterable[str], place: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if not close:
        return f" Known here: {', '.join(known)}."
    prefix = f"{place}." if place else ""
    return f" Did you mean {prefix}{close[0]}?"

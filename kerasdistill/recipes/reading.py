"""Plain values into frozen dataclasses, by their annotations."""

import dataclasses
import math
import types
import typing
from typing import Any, Literal

from kerasdistill.errors import UserError
from kerasdistill.objectives import OBJECTIVES, Objective
from kerasdistill.recipes import base, checking, older


def from_json(value: dict[str, Any]) -> base.Recipe:
    """The recipe written by `base.to_json`; UserError names a field that is off."""
    if not isinstance(value, dict) or value.get("kind") not in [*base.KINDS]:
        kinds = ", ".join(base.KINDS)
        raise UserError(f"a recipe needs a 'kind' among {kinds}; rewrite the file")
    value = older.patched(value)
    rest = {name: item for name, item in value.items() if name != "kind"}
    recipe = read(base.KINDS[value["kind"]], rest, where=value["kind"])
    checking.check(recipe)
    return recipe


def read(kind: Any, value: Any, *, where: str) -> Any:
    """`value` as a `kind`; UserError names the field (`where`) that is off."""
    if kind is Objective:
        return _read_objective(value, where=where)
    if dataclasses.is_dataclass(kind):
        kind, value = _of_family(kind, value)
        return _read_fields(kind, value, where=where)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list | tuple):
        if arguments[-1] is Ellipsis:
            arguments = arguments[:1] * len(value)
        if len(arguments) == len(value):
            pairs = zip(arguments, value, strict=True)
            return tuple(read(kind, item, where=where) for kind, item in pairs)
    elif origin is Literal and value in arguments:
        return value
    elif origin is types.UnionType:
        plain = [option for option in arguments if option is not type(None)]
        if len(plain) > 1:  # dataclasses, which differ in their fields
            return _read_fields(_of_fields(plain, value, where), value, where=where)
        return None if value is None else read(plain[0], value, where=where)
    elif kind is float and type(value) in (int, float) and math.isfinite(value):
        return float(value)
    elif kind is not float and type(value) is kind:
        return value
    expected = kind.__name__ if type(kind) is type else kind
    raise UserError(
        f"recipe field {where} is {value!r}, expected {expected}; correct it"
    )


def _read_fields(kind: Any, value: Any, *, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"recipe field {where} is {value!r}, expected an object")
    hints = typing.get_type_hints(kind)
    own = {field.name for field in dataclasses.fields(kind) if field.init}
    unknown = sorted(set(value) - own)
    if unknown:
        raise UserError(f"recipe field {where}.{unknown[0]} is not known; remove it")
    values = {
        name: read(hints[name], item, where=f"{where}.{name}")
        for name, item in value.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise UserError(f"recipe {where} lacks a field: {error}") from error


def _of_family(kind: type, value: Any) -> tuple[type, Any]:
    """The architecture that the value says it is of, and its fields."""
    from kerasdistill.recipes.families import FAMILIES  # they are made of recipes

    architectures = (family.architecture for family in FAMILIES.values())
    kinds = {each.__name__: each for each in architectures}
    if not isinstance(value, dict) or value.get("kind") not in [*kinds]:
        return kind, value
    rest = {key: item for key, item in value.items() if key != "kind"}
    return kinds[value["kind"]], rest


def _read_objective(value: Any, *, where: str) -> Objective:
    name = value.get("name") if isinstance(value, dict) else value
    if not (isinstance(value, dict) and isinstance(name, str) and name in OBJECTIVES):
        names = ", ".join(map(repr, OBJECTIVES))
        raise UserError(f"recipe field {where} is {name!r}, expected one of {names}")
    rest = {key: item for key, item in value.items() if key != "name"}
    return _read_fields(OBJECTIVES[name], rest, where=where)


def _of_fields(kinds: list[type], value: Any, where: str) -> type:
    for kind in kinds:
        fields = {each.name: each.default for each in dataclasses.fields(kind)}
        needed = {name for name in fields if fields[name] is dataclasses.MISSING}
        if isinstance(value, dict) and needed <= set(value) <= set(fields):
            return kind
    names = ", ".join(kind.__name__ for kind in kinds)
    raise UserError(f"recipe field {where} is none of {names}; give all its fields")

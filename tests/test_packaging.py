"""What setup.py, the Dockerfile and the pages say of installing fits together."""

import re

import oldest
import pytest
from packaging.specifiers import SpecifierSet

from kerasdistill import doctor

from .conftest import PACKAGED, ROOT


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def required() -> dict[str, SpecifierSet]:
    """Every requirement of setup.py, extras too, by name."""
    stated = r'"([\w\-]+)(?:\[\w+\])?((?:>=|==)[^"]+)"'
    return {n: SpecifierSet(s) for n, s in re.findall(stated, text_of("setup.py"))}


def test_oldest_versions_are_the_lower_bounds():
    texts = ["keras<3.16,>=3.12", "dask[a]>=2; extra == 'x'", "sphinx==9", "rich>=13.7"]
    assert oldest.oldest(texts) == ["dask==2", "keras==3.12", "rich==13.7"]


@pytest.mark.parametrize("name", doctor.SAME_BITS)
def test_what_gives_the_same_bits_may_be_installed(name):
    first = doctor.SAME_BITS[name].removeprefix("==").removesuffix(".*")
    assert required()[name].contains(first + ".0" * (first.count(".") < 2))


def dockerfile() -> str:
    return text_of("Dockerfile")


def test_the_container_has_a_python_that_is_allowed():
    (version,) = re.findall(r"^FROM python:([\d.]+)-slim$", dockerfile(), re.MULTILINE)
    (allowed,) = re.findall(r'python_requires="(.+)"', text_of("setup.py"))
    assert SpecifierSet(allowed).contains(version)
    assert f"Python :: {version}" in text_of("setup.py")


def test_the_container_gets_all_that_is_installed_and_no_more():
    copied = " ".join(
        re.findall(r"^COPY (.+) \S+$", dockerfile(), re.MULTILINE)
    ).split()
    assert sorted(copied) == sorted(PACKAGED)
    rules = text_of(".dockerignore").splitlines()
    assert "*" in rules
    assert sorted(r[1:] for r in rules if r[0] == "!") == sorted(PACKAGED)


def test_the_container_runs_the_command_as_an_ordinary_user():
    lines = dockerfile().splitlines()
    assert 'ENTRYPOINT ["kerasdistill"]' in lines
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users and users[-1] not in ("root", "0")

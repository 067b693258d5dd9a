"""Packaging of kerasdistill; everything else is configured in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent


def version() -> str:
    # Read as text: importing the package would need what is about to be installed.
    text = (ROOT / "kerasdistill" / "__init__.py").read_text(encoding="utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


def readme() -> str:
    file = ROOT / "README.md"
    return file.read_text(encoding="utf-8") if file.exists() else ""


# The tests pass with the lowest versions (`make test-oldest`) and with the highest.
# Bit-equal resumes are tested with fewer: `doctor` says so where others are installed.
REQUIRED = [
    "tensorflow>=2.20,<2.22",
    "keras>=3.14,<3.16",
    "keras-tuner>=1.4.7,<1.5",
    "tensorflow-datasets>=4.9.10,<4.10",
    "importlib_resources>=6.4.5,<8",  # tensorflow-datasets imports it, undeclared
    "apache-beam>=2.69,<2.78",
    "tensorboard>=2.20,<2.22",  # TensorFlow 2.21 no longer brings it
    "scikit-learn>=1.5,<2",
    "scipy>=1.15,<2",
    "threadpoolctl>=3.5,<4",
    "numpy>=2.0.2,<3",
    "packaging>=24,<27",
    "pillow>=11.0,<13",
    "requests>=2.32.4,<3",
    "rich>=13.7,<16",
    "shtab>=1.7.1,<2",
    "tqdm>=4.66,<5",
]
REPORT = ["matplotlib>=3.9,<4"]
# Keras' other backend: the engine for GPUs.
JAX = ["jax>=0.7,<0.13"]
TEST = [
    "pytest>=8.3,<10",
    "pytest-xdist>=3.6.1,<4",
    "hypothesis>=6.100,<7",
    *REPORT,
    *JAX,
]
LINT = ["ruff>=0.12,<0.18", "import-linter>=2.3,<3"]
# Pinned, because warnings are errors and each release has new ones.
DOCS = ["sphinx==9.0.4", "furo==2025.12.19", "myst-parser==5.2.0"]
DASK = ["apache-beam[dask]>=2.69,<2.78"]
# What `export` needs besides SavedModel and .keras.
EXPORT = [
    "ai-edge-litert>=2.3,<3",
    "onnx>=1.19,<2",
    "onnxruntime>=1.22,<2",
    "tf2onnx>=1.17,<2",
]
SERVE = ["litserve>=0.2.16,<0.3"]
# Each brings far more than training needs, so they are no part of [all].
TRACKERS = [
    "mlflow>=3.17,<4",
    "wandb>=0.31,<1",
    "pandas>=2.2,<3",  # mlflow brings it; beside pandas 3, Beam 2.77 can't be imported
]
# What runs a notebook.
NOTEBOOK = ["nbclient>=0.10,<1", "nbformat>=5.10,<6", "ipykernel>=6.29,<8"]

setup(
    name="kerasdistill",
    version=version(),
    description="Smaller or better Keras networks, distilled from trusted ones",
    long_description=readme(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["kerasdistill*", "pipelines*", "tuners*"]),
    package_data={
        name: ["py.typed"] for name in ("kerasdistill", "pipelines", "tuners")
    },
    install_requires=REQUIRED,
    extras_require={
        "test": TEST,
        "test-slow": TEST + TRACKERS + NOTEBOOK,
        "lint": LINT,
        "docs": DOCS,
        "dask": DASK,
        "report": REPORT,
        "export": EXPORT,
        "jax": JAX,
        "serve": SERVE,
        "trackers": TRACKERS,
        "all": DASK + REPORT + EXPORT + JAX + SERVE,
    },
    entry_points={
        "console_scripts": ["kerasdistill=kerasdistill.cli.__main__:main"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)

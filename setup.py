"""The one thing pyproject.toml cannot say: which cffi module to build (setuptools' `cffi_modules` keyword)."""

from setuptools import setup

setup(cffi_modules=["native/build.py:ffibuilder"])

"""What pyproject.toml cannot say: the cffi module to build, and that it keeps to the stable ABI, one wheel for all Pythons from 3.11 on."""

from setuptools import setup

setup(cffi_modules=["native/build.py:ffibuilder"], options={"bdist_wheel": {"py_limited_api": "cp311"}})

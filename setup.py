"""Build of the C core: see native/build.py for what is compiled and how."""

from setuptools import setup

setup(cffi_modules=["native/build.py:miner_ffi", "native/build.py:plan_ffi"])

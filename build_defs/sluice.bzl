"""The rules of Sluice's own targets: one set of flags, one include path, checked layers."""

load("@rules_cc//cc:defs.bzl", "cc_binary", "cc_library", "cc_test")
load("//build_defs:precompiled.bzl", "precompiled")
load("//build_defs:together.bzl", "together")

_COPTS = ["-Wall", "-Wextra"]
_FEATURES = ["layering_check"]

# A folder may depend on itself and on folders of a lower layer. "" is the root: //:sluice.
_LAYERS = {
    "core": 0,
    "actors": 1,
    "protocols": 2,
    "": 3,
    "examples": 4,
    "sim": 5,
    "tests": 6,
    "bench": 6,
    "docs": 6,
}

def _check_layers(name, deps):
    own = native.package_name().partition("/")[0]
    for dep in deps:
        if not dep.startswith("//"):
            continue
        used = dep[2:].partition(":")[0].partition("/")[0]
        if own not in _LAYERS or used not in _LAYERS or used == own:
            continue
        if _LAYERS[used] >= _LAYERS[own]:
            fail("//%s:%s may not depend on %s: it is not in a lower layer (build_defs/sluice.bzl)" %
                 (native.package_name(), name, dep))

def sluice_cc_library(name, deps = [], copts = [], **kwargs):
    """A library whose headers are included as "sluice/<folder>/<header>.h".

    `deps` is a plain list, without select(): the layer check walks it.
    """
    _check_layers(name, deps)
    srcs = kwargs.pop("srcs", [])
    more_deps, more_copts = precompiled(srcs, copts)
    cc_library(
        name = name,
        srcs = together(name, srcs),
        copts = _COPTS + copts + more_copts,
        features = _FEATURES,
        include_prefix = "/".join([part for part in ["sluice", native.package_name()] if part]),
        deps = deps + more_deps,
        **kwargs
    )

def sluice_cc_binary(name, deps = [], copts = [], **kwargs):
    """A program."""
    _check_layers(name, deps)
    srcs = kwargs.pop("srcs", [])
    more_deps, more_copts = precompiled(srcs, copts)
    cc_binary(
        name = name,
        srcs = together(name, srcs),
        copts = _COPTS + copts + more_copts,
        features = _FEATURES,
        deps = deps + more_deps,
        **kwargs
    )

def sluice_cc_test(name, deps = [], copts = [], **kwargs):
    """A test. One that uses real threads has tags = ["concurrent"]: it also runs under tsan."""
    _check_layers(name, deps)
    srcs = kwargs.pop("srcs", [])
    more_deps, more_copts = precompiled(srcs, copts)
    cc_test(
        name = name,
        srcs = together(name, srcs),
        copts = _COPTS + copts + more_copts,
        features = _FEATURES,
        deps = deps + more_deps,
        **kwargs
    )

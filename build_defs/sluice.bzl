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
    "cookbook": 6,
}

# Within a folder, a wing may depend on itself and on wings of a lower number.
_WINGS = {
    "core/base": 0,
    "core/os": 1,
    "core/memory": 1,
    "core/mailbox": 2,
    "core/slot": 3,
    "core/worker": 4,
    "core/actor": 5,
    "core/runtime": 6,
    "actors/connection": 0,
    "actors/peers": 1,
    "actors/hub": 1,
    "sim/world": 0,
    "sim/check": 1,
    "sim/run": 2,
    "sim/scenarios": 3,
    "sim": 4,
}

def _layer(package):
    folder = package.partition("/")[0]
    return (_LAYERS[folder], _WINGS.get(package, 0)) if folder in _LAYERS else None

def _check_layers(name, deps):
    own = native.package_name()
    if own.partition("/")[0] in ("core", "actors", "sim") and own not in _WINGS:
        fail("//%s has no row in _WINGS (build_defs/sluice.bzl)" % own)
    for dep in deps:
        if not dep.startswith("//"):
            continue
        used = dep[2:].partition(":")[0]
        if used == own or not _layer(own) or not _layer(used):
            continue
        beside = used.partition("/")[0] == own.partition("/")[0] and not (own in _WINGS and used in _WINGS)
        if not beside and _layer(used) >= _layer(own):
            fail("//%s:%s may not depend on %s: it is not in a lower layer (build_defs/sluice.bzl)" %
                 (own, name, dep))

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
    """A test. A test that uses real threads has tags = ["concurrent"]: it also runs under tsan."""
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

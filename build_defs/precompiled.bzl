"""Headers of other projects, read once for many compilations.

More than half of the time of a compilation goes into the headers of the standard library, Abseil and
GoogleTest. With --define=sluice_precompiled=gcc (.bazelrc), every target of ours is compiled with
-include of one header, which g++ has already read. That header includes only headers of other
projects: an edit of ours never rebuilds it. A forgotten #include of one of ours fails with every
compiler; a forgotten one of theirs fails with clang, which gets no precompiled header.
"""

load("@rules_cc//cc:defs.bzl", "cc_library")

_PACKAGE = "build_defs/precompiled"

def precompiled_header(name, header, deps):
    """The library :NAME, with `header` and what g++ makes of it.

    A target that depends on :NAME is compiled with its flags, and g++ uses a precompiled header only
    if it was made with the same flags. Therefore Bazel's own compile action makes it, in the
    configuration of the build. With other flags, g++ reads `header` itself.
    """
    cc_library(
        name = name + "_compile",
        srcs = [name + ".cc"],
        copts = ["-x", "c++-header"] + select({
            # Bazel compiles this library with -fPIC, but optimized programs without it: for them
            # Debian's g++ uses -fPIE. The last of these flags counts.
            "//%s:wanted_optimized" % _PACKAGE: ["-fPIE"],
            "//conditions:default": [],
        }),
        linkstatic = True,
        tags = ["manual"],
        deps = deps,
    )
    native.genrule(
        name = name + "_source",
        srcs = [header],
        outs = [name + ".cc"],
        cmd = "cp $< $@",
        tags = ["manual"],
    )
    native.filegroup(
        name = name + "_object",
        srcs = [name + "_compile"],
        output_group = "compilation_outputs",
        tags = ["manual"],
    )

    # A separate folder: the source header of the same name must have no .gch beside it.
    native.genrule(
        name = name + "_files",
        srcs = [
            header,
            name + "_object",
        ],
        outs = [
            "made/" + header,
            "made/" + header + ".gch",
        ],
        cmd = ("cp $(location {header}) $(RULEDIR)/made; " +
               "for object in $(locations {name}_object); do cp $$object $(RULEDIR)/made/{header}.gch; done").format(
            header = header,
            name = name,
        ),
        tags = ["manual"],
    )
    cc_library(
        name = name,
        hdrs = [name + "_files"],
        tags = ["manual"],
        visibility = ["//visibility:public"],
        deps = deps,
    )

def precompiled(srcs, copts):
    """The dependencies and the flags that bring a target of this package its precompiled header.

    Both are empty for a target with an -O flag of its own, as the precompiled header has none, and for C.
    """
    if [copt for copt in copts if copt.startswith("-O")] or [src for src in srcs if src.endswith(".c")]:
        return [], []
    tests = native.package_name().partition("/")[0] in ["docs", "tests"]
    name = "test_headers" if tests else "headers"
    wanted = "//%s:wanted" % _PACKAGE
    flags = ["-include", "%s/made/%s.h" % (_PACKAGE, name)]

    # g++ collects garbage only above this many KiB: a short compilation ends sooner without it.
    flags.append("--param=ggc-min-heapsize=524288")
    return (
        select({
            wanted: ["//%s:%s" % (_PACKAGE, name)],
            "//conditions:default": [],
        }),
        select({
            wanted + "_optimized": flags,
            wanted: flags + ["-Winvalid-pch"],
            "//conditions:default": [],
        }),
    )

"""The rule of fuzz targets."""

load("//build_defs:sluice.bzl", "sluice_cc_binary", "sluice_cc_test")

def fuzz_target(name, deps, **kwargs):
    """A target NAME of `./sluice fuzz`, in NAME_fuzz.cc, and the test that replays corpus/NAME/."""
    deps = deps + [":fuzz", "@googletest//:gtest"]
    sluice_cc_binary(
        name = name,
        testonly = True,
        srcs = [
            name + "_fuzz.cc",
            "libfuzzer.cc",
        ],
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],  # Builds only with --config=fuzz.
        deps = deps,
        **kwargs
    )
    sluice_cc_test(
        name = name + "_corpus_test",
        size = "small",
        srcs = [
            name + "_fuzz.cc",
            "corpus_test.cc",
        ],
        args = [native.package_name() + "/corpus/" + name],
        data = native.glob(["corpus/" + name + "/**"]),
        deps = deps,
        **kwargs
    )

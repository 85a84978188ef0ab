"""Sources of one target, compiled several at a time.

Most of a compilation goes into headers and templates that its neighbours need too. Six sources in
one compilation cost about as much as two of them apart. Therefore up to six sources of a target are
joined in one file; messages still show each source's own name and line numbers.

Names in the unnamed namespaces of one target's sources must differ, also those of functions: an
overload from another source could be called silently. The build with clang
(--define=sluice_together=no) compiles each source by itself, and so finds a forgotten #include:
all sources but those of tests and scenarios, which no program includes.
"""

_TOGETHER_MAX = 6

def together(name, srcs):
    """Files that the target NAME compiles instead of `srcs`, each with several of them."""
    sources = [src for src in srcs if src.endswith(".cc")]
    if len(sources) < 2:
        return srcs
    files = (len(sources) + _TOGETHER_MAX - 1) // _TOGETHER_MAX
    together = []
    for i in range(files):
        for source in sources:
            if " " in source or "'" in source or "$" in source:
                fail("%s: a source that is compiled together with others has none of these in its name: space ' $" % source)
        part = sources[len(sources) * i // files:len(sources) * (i + 1) // files]
        file = "%s_together_%d" % (name, i)
        native.genrule(
            name = file,
            srcs = part,
            outs = [file + ".cc"],
            cmd = "for source in $(SRCS); do echo \"#line 1 \\\"$$source\\\"\"; cat $$source; echo; done > $@",
            tags = ["manual"],
            visibility = ["//visibility:private"],
        )
        together.append(file + ".cc")
    joined = [src for src in srcs if src not in sources] + together
    package = native.package_name()
    if package.startswith("tests/") or package == "sim/scenarios":
        return joined
    return select({
        "//build_defs:apart": srcs,
        "//conditions:default": joined,
    })

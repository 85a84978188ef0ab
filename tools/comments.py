"""The comments of a source, for tools/pointers.py and tools/prose.py.

A comment is a run of whole comment lines, or what stands behind code on one line. In Python, a docstring is one too.
"""
import io
import os
import re
import tokenize

# Comments, and literals, in which nothing is a comment.
CPP = re.compile(r"""//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<!\w)'(?:\\.|[^'\\\n])+'""", re.S)


class Comment:
    """Its text, lines joined by a space, and which line each character stands on."""

    def __init__(self, column, alone):
        self.text = ""
        self.column = column
        self.alone = alone  # No code before it on its line.
        self.last = 0  # Line.
        self.starts = []  # (offset in the text, line)

    def add(self, line, text):
        self.text += " " if self.text else ""
        self.starts.append((len(self.text), line))
        self.text += text.strip()
        self.last = line

    @property
    def line(self):
        return self.starts[0][1]

    def line_at(self, offset):
        return [line for start, line in self.starts if start <= offset][-1]


def joined(pieces):
    """Comments of (line, column, alone, text). Lines of comment that follow one another are one comment, and so are a
    comment behind code and the lines below that begin in its column."""
    comments = []
    for line, column, alone, text in pieces:
        last = comments[-1] if comments else None
        if not (last and alone and last.last == line - 1 and (last.alone or last.column == column)):
            last = Comment(column, alone)
            comments.append(last)
        last.add(line, text)
    return comments


def split_cpp(text):
    """(comments, the code without them and without literals)"""
    pieces, code, at, line = [], [], 0, 1
    for match in CPP.finditer(text):
        code.append(text[at:match.start()])
        line += text.count("\n", at, match.start())
        at = match.end()
        token = match.group(0)
        if token[:2] in ("//", "/*"):
            start = text.rfind("\n", 0, match.start()) + 1
            column, alone = match.start() - start, not text[start:match.start()].strip()
            body = token.lstrip("/") if token[:2] == "//" else token[2:-2]
            for number, part in enumerate(body.split("\n")):
                pieces.append((line + number, column, alone or number > 0, part))
        code.append(" ")
        line += token.count("\n")
    code.append(text[at:])
    return joined(pieces), "".join(code)


def split_python(text):
    pieces, code, before = [], [], tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        line, column = token.start
        if token.type == tokenize.COMMENT and not token.string.startswith("#!"):
            pieces.append((line, column, not token.line[:column].strip(), token.string.lstrip("#")))
        elif token.type == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            for number, part in enumerate(token.string.strip("\"'").split("\n")):
                pieces.append((line + number, column, True, part))
        elif token.type == tokenize.NAME:
            code.append(token.string)
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            before = token.type
    return joined(pieces), " ".join(code)


def split_shell(text):
    pieces, code = [], []
    for line, content in enumerate(text.split("\n"), 1):
        before, mark, comment = re.match(r"((?:[^#]|(?<![\s])#)*)(#?)(.*)", " " + content).groups()
        if mark and not (line == 1 and comment.startswith("!")):
            pieces.append((line, len(before), not before.strip(), comment.lstrip("#")))
        code.append(before)
    return joined(pieces), "\n".join(code)


def split(path, text):
    """(comments, code) of a source; None where the file is none."""
    base, ending = os.path.basename(path), os.path.splitext(path)[1]
    if ending in (".h", ".cc", ".c"):
        return split_cpp(text)
    if ending in (".py", ".bzl", ".bazel") or base in ("WORKSPACE", "WORKSPACE.bzlmod"):
        return split_python(text)
    if ending == ".sh" or text.startswith("#!") and "sh" in text.split("\n", 1)[0] or base == ".bazelrc":
        return split_shell(text)
    return None

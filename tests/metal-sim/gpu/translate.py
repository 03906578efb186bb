#!/usr/bin/env python3
"""Translates a Metal source to C++ for the headers in msl/.

usage: translate.py SOURCE BODY FACTS [-DNAME=VALUE …]

BODY gets the library as a C++ header. FACTS gets a line for each kernel, its fields separated by tabs:

    kernel  NAME  WHAT,…  ENTRY

WHAT is any of matrix, reduction and atomic: operations that the kernel can reach by the names of the functions in the
source. ENTRY is the C++ expression of its entry point.

The source is preprocessed first. What then differs from C++ is little: attributes in double brackets, `kernel`, address
spaces (macros in msl/stdlib.h), function constants, threadgroup arrays declared in kernels, and explicit instantiations
that name an entry point.
"""

import os
import re
import subprocess
import sys

COMPILER = os.environ.get("INFERNO_METAL_SIM_CXX", "clang++-19")

ATTRIBUTES = {
    "threadgroup_position_in_grid",
    "thread_position_in_threadgroup",
    "threads_per_threadgroup",
    "dispatch_threads_per_threadgroup",
    "threadgroups_per_grid",
    "thread_position_in_grid",
    "threads_per_grid",
    "thread_index_in_simdgroup",
    "simdgroup_index_in_threadgroup",
    "thread_index_in_threadgroup",
    "simdgroups_per_threadgroup",
    "threads_per_simdgroup",
}

OPERATIONS = {
    "matrix": re.compile(
        r"^(simdgroup_(multiply|multiply_accumulate|load|store|matrix|float8x8|half8x8|bfloat8x8)"
        r"|make_filled_simdgroup_matrix)$"
    ),
    "reduction": re.compile(r"^simd_(sum|product|max|min|and|or|xor|prefix_\w+|shuffle\w*|broadcast\w*)$"),
    "atomic": re.compile(r"^atomic_\w+_explicit$"),
}

ATTRIBUTE = re.compile(r"\[\[\s*(?:buffer|threadgroup|" + "|".join(ATTRIBUTES) + r")\s*(?:\(\s*\d+\s*\))?\s*\]\]")
NAME = re.compile(r"[A-Za-z_]\w*")
CLOSING = {"(": ")", "[": "]", "{": "}", "<": ">"}


class Untranslatable(Exception):
    pass


def preprocess(path, macros):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    # The standard library is a C++ header here, included after preprocessing.
    text = re.sub(r"^\s*#\s*include\s*<.*>", "", text, flags=re.M)
    command = [COMPILER, "-E", "-P", "-x", "c++", "-nostdinc", "-nostdinc++", "-w"]
    macros = ["-D__METAL__", "-D__METAL_VERSION__=310"] + macros
    result = subprocess.run(command + macros + ["-"], input=text, capture_output=True, text=True)
    if result.returncode != 0:
        raise Untranslatable(result.stderr)
    return result.stdout


def closing(text, start):
    """Index of the bracket that closes the one at `start`."""
    opening = text[start]
    if opening == "<":
        return closing_angle(text, start)
    depth = 0
    token = re.compile(r'"(?:[^"\\]|\\.)*"|' + re.escape(opening) + "|" + re.escape(CLOSING[opening]))
    for m in token.finditer(text, start):
        if m[0] == opening:
            depth += 1
        elif m[0] == CLOSING[opening]:
            depth -= 1
            if depth == 0:
                return m.start()
    raise Untranslatable(f"no end to: {text[start:start + 80]}")


def closing_angle(text, start):
    depth = 0
    i = start
    while i < len(text):
        if text[i] in "([{":
            i = closing(text, i)
        elif text[i] == "<":
            depth += 1
        elif text[i] == ">":
            depth -= 1
            if depth == 0:
                return i
        i += 1
    raise Untranslatable(f"no end to: {text[start:start + 80]}")


def split_at_commas(text):
    parts, depth, part = [], 0, ""
    for c in text:
        depth += (c in "(<[{") - (c in ")>]}")
        if c == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += c
    return parts + [part] if part.strip() else parts


def declarations(text):
    """The top-level declarations of a source, each as (text, start of its body or None)."""
    token = re.compile(r'"(?:[^"\\]|\\.)*"|[;{(]|^\s*#.*$', re.M)
    start = 0
    at = 0
    while True:
        m = token.search(text, at)
        if not m:
            break
        if m[0] == ";":
            yield text[start : m.end()], None
            start = at = m.end()
        elif m[0] == "(":
            at = closing(text, m.start()) + 1
        elif m[0] == "{":
            end = closing(text, m.start()) + 1
            # A function ends with its body; a type, an enumeration or an initialiser ends with a semicolon.
            if is_function(text[start : m.start()]):
                yield text[start:end], m.start() - start
                start = end
            at = end
        elif m[0].lstrip().startswith("#"):
            if not text[start : m.start()].strip():
                yield m[0] + "\n", None
                start = m.end()
            at = m.end()
        else:
            at = m.end()
    if text[start:].strip():
        raise Untranslatable(f"not a declaration: {text[start:].strip()[:80]}")


def is_function(head):
    assigned = "=" in re.sub(r"\(.*\)|<.*?>|operator\s*\S+", "", head, flags=re.S)
    return bool(re.search(r"\)\s*(const)?\s*$", head)) and not assigned


def function_name(head):
    """Name of the function that a head, up to its body, declares."""
    head = re.sub(r"\[\[.*?\]\]", " ", head, flags=re.S)
    m = re.match(r"\s*template\s*(?=<)", head)
    if m:
        head = head[closing(head, m.end()) + 1 :]
    m = re.search(r"([A-Za-z_]\w*)\s*(<[^()]*>)?\s*\(", head)
    return m[1] if m else None


def parameters(text):
    """Parameters of a kernel without their attributes, and the attributes as C++ types."""
    clean, kinds = [], []
    next_buffer = 0
    for parameter in split_at_commas(text):
        m = re.search(r"\[\[\s*(\w+)\s*(?:\(\s*(\d+)\s*\))?\s*\]\]", parameter)
        clean.append(re.sub(r"\[\[.*?\]\]", "", parameter))
        if not m:
            kinds.append(f"msl::is<msl::buffer, {next_buffer}>")
            next_buffer += 1
        elif m[1] == "buffer":
            kinds.append(f"msl::is<msl::buffer, {m[2]}>")
            next_buffer = int(m[2]) + 1
        elif m[1] == "threadgroup":
            kinds.append(f"msl::is<msl::threadgroup_memory, {m[2]}>")
        elif m[1] in ATTRIBUTES:
            kinds.append(f"msl::is<msl::{m[1]}>")
        else:
            raise Untranslatable(f"attribute {m[1]} of a kernel's parameter is not known")
    return ",".join(clean), kinds


def string_literals(text):
    return "".join(re.findall(r'"([^"]*)"', text))


class Library:
    def __init__(self):
        self.body = []
        self.constants = []  # (type, name, index expression)
        self.computed = set()  # names of function constants, and of what is computed from them
        self.kernels = []  # (name, words that it uses, entry)
        self.attributes = {}  # of each kernel function
        self.words = {}  # name of a function or type: words in it
        self.arrays = 0

    def translate(self, text):
        # Loops are unrolled as the compiler sees fit: what is asked of a GPU's makes code that takes long to compile.
        text = re.sub(r"^\s*#\s*pragma\b.*$", "", text, flags=re.M)
        for declaration, body in declarations(text):
            self.declaration(declaration, body)

    def declaration(self, text, body):
        m = re.match(
            r"\s*constant\s+(\w+)\s+(\w+)\s*\[\[\s*function_constant\s*\((.*?)\)\s*\]\]\s*;", text, flags=re.S
        )
        if m:
            self.constants.append(m.groups())
            self.computed.add(m[2])
            # Not an object: an expression that reads the block of the pipeline that runs.
            self.body.append(f"\n#define {m[2]} (msl::constants<function_constants>().{m[2]}_)\n")
            return
        # A constant that is computed from function constants is an expression too.
        m = re.match(r"\s*constant\s+(\w+)\s+(\w+)\s*=(.*);", text, flags=re.S)
        if m and self.computed & set(NAME.findall(m[3])):
            self.computed.add(m[2])
            value = " ".join(m[3].split())
            self.body.append(f"\n#define {m[2]} ({m[1]}({value}))\n")
            return
        head = text if body is None else text[:body]
        if re.search(r"\bkernel\b", head):
            self.kernel(text, head, body)
            return
        self.remember(text, head, body)
        # The types of kernels carry the attributes of their parameters.
        text = ATTRIBUTE.sub(lambda m: " " * len(m[0]), text)
        head = text if body is None else text[:body]
        self.body.append(text if body is None else head + self.with_arrays(text[body:]))

    def remember(self, text, head, body):
        if body is not None:
            name = function_name(head)
        else:
            # Types and aliases lead from a name to other names as functions do.
            m = re.search(r"\b(?:struct|class|union)\s+(\w+)\s*\{", text) or re.search(
                r"\btypedef\b.*\b(\w+)\s*;", text, flags=re.S
            ) or re.search(r"\busing\s+(\w+)\s*=", text) or re.search(r"\b(\w+)\s*(?:\[[^\]]*\]\s*)*=", text)
            name = m[1] if m else None
        if name:
            self.words.setdefault(name, set()).update(NAME.findall(text[body or 0 :]))

    def with_arrays(self, body):
        """Threadgroup memory that a function declares becomes a reference into the threadgroup's memory."""

        def replace(m):
            self.arrays += 1
            kind = m[2].strip() + m[4].strip()
            return f"{m[1]}auto & {m[3]} = msl::threadgroup_array<{kind}, {self.arrays - 1}>();"

        return re.sub(
            r"(?<=[;{}])(\s*)threadgroup\s+((?:\w+::)*\w+(?:\s*<[^;*&]*?>)?)\s+(\w+)\s*((?:\[[^\]]*\]\s*)*);", replace, body
        )

    def kernel(self, text, head, body):
        m = re.search(r"\bkernel\s+(.*?)\b(\w+)\s*(?=[<(;])", head, flags=re.S)
        host = re.search(r"\[\[\s*host_name\s*\(((?:\s*\"[^\"]*\")+)\s*\)\s*\]\]", head)
        if not m:
            raise Untranslatable(f"kernel without a name: {head[:80]}")
        kind, name = m[1].strip(), m[2]
        at = m.end()
        if head[at] == "<":
            end = closing(head, at) + 1
            self.instantiation(string_literals(host[1]) if host else name, kind, name, head[at:end], head[end:])
            return
        end = closing(head, at)
        clean, kinds = parameters(head[at + 1 : end])
        self.attributes[name] = kinds
        before = re.sub(r"\[\[.*?\]\]", "", head[: m.start()], flags=re.S)
        self.body.append(f"{before}{kind} {name}({clean})" + (";" if body is None else self.with_arrays(text[body:])))
        if body is None:
            return
        self.words.setdefault(name, set()).update(NAME.findall(text[body:]))
        if not re.match(r"\s*template\b", before):
            self.kernels.append(
                (string_literals(host[1]) if host else name, {name}, self.entry(f"decltype({name})", name, kinds))
            )

    def instantiation(self, host_name, kind, name, arguments, rest):
        if name not in self.attributes:
            raise Untranslatable(f"{host_name}: no kernel {name}")
        signature, kinds = kind, self.attributes[name]
        rest = rest.strip()
        if rest.startswith("("):
            clean, _ = parameters(rest[1 : closing(rest, 0)])
            signature = f"void({clean})"
        self.kernels.append(
            (host_name, {name} | set(NAME.findall(arguments)), self.entry(signature, name + arguments, kinds))
        )

    def entry(self, signature, function, kinds):
        text = f"msl::entry<{', '.join([signature] + kinds)}>::call<&{function}>"
        return re.sub(r"\s+", " ", text)

    def reaches(self, words):
        """Names of operations that functions named by `words` can reach."""
        seen, todo, found = set(), list(words), set()
        while todo:
            word = todo.pop()
            if word in seen:
                continue
            seen.add(word)
            for operation, pattern in OPERATIONS.items():
                if pattern.match(word):
                    found.add(operation)
            todo.extend(self.words.get(word, ()))
        return sorted(found)

    def header(self):
        fields = "".join(f"    alignas(8) {kind} {name}_;\n" for kind, name, _ in self.constants)
        table = "".join(
            f"    {{int({index}), uint32_t(__builtin_offsetof(function_constants, {name}_)), sizeof({kind})}},\n"
            for kind, name, index in self.constants
        )
        return (
            '#include "stdlib.h"\n'
            "using namespace metal;\n"
            "MSL_BEGIN_INLINE\n"
            "namespace {\n"
            f"struct function_constants {{\n{fields}    uint32_t end_;\n}};\n"
            f"constexpr msl::constant_slot constant_table[] = {{\n{table}    {{-1, 0, 0}},\n}};\n"
            + "".join(self.body)
            + "\n} // namespace\nMSL_END_INLINE\n"
        )

    def facts(self):
        return "".join(
            f"kernel\t{name}\t{','.join(self.reaches(words))}\t{entry}\n" for name, words, entry in self.kernels
        )


def main():
    source, body, facts, *macros = sys.argv[1:]
    library = Library()
    try:
        library.translate(preprocess(source, macros))
    except Untranslatable as e:
        sys.exit(f"{e}")
    with open(body, "w", encoding="utf-8") as f:
        f.write(library.header())
    with open(facts, "w", encoding="utf-8") as f:
        f.write(library.facts())


main()

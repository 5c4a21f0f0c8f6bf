#!/usr/bin/env python3
"""Asks the real helm 4 what template expressions give, and writes expressions.jsonl beside this script.

    python3 tests/data/helm/generate.py /path/to/helm

Every line holds an expression with its output, or with the error that helm ends in. All expressions share one chart, which
is described in chart.json. Rerun after adding expressions; helm's answers are never edited by hand.
"""
import base64, itertools, json, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
VALUES = """\
s: str
empty: ""
zero: 0
one: 1
f: 1.5
big: 12345678901
million: 1000000
neg: -3
t: true
no: false
nothing: null
l: [1, 2, 3]
ls: [b, a, c]
mixed: [1, two, 3.5, true, null]
nested: [[1, 2], [3]]
m: {a: 1, b: two, c: {d: e}}
deep: {x: {y: {z: 1}}}
words: "the quick  brown fox"
multi: "line one\\nline two\\n"
unicode: "häßlich ☃ 😀"
version: v1.2.3-rc.1+build
yamlish: "a: 1\\nb: [x, y]\\n"
"""
FILES = {"files/a.txt": "alpha\n", "files/b.txt": "beta\nsecond line\n", "files/sub/c.conf": "k=v\n", "other.bin": "x"}

def q(text):
    return json.dumps(text, ensure_ascii=False)

def expressions():
    yield from open(os.path.join(HERE, "written.txt"), encoding="utf-8").read().split("\n%%\n")[:-1]
    scalars = ['""', '"abc"', '"1"', '"1.0"', '"010"', '"0x1f"', '"1e3"', '"-7"', '"true"', '" x "', '0', '1', '-1', '42', '3.7',
               '-3.7', '1e6', '1e21', '0.000001', 'true', 'false', 'nil', '(list)', '(list 1 2)', '(dict)', '(dict "a" 1)',
               '.Values.big', '.Values.million', '.Values.f', '.Values.nothing', '.Values.missing', '.Values.l', '.Values.m',
               "'a'", '0b101', '0o17', '017', '1_000', '1.', '.5']
    one = ["int", "int64", "float64", "toString", "quote", "squote", "typeOf", "kindOf", "empty", "not", "len", "toJson", "toYaml",
           "atoi", "floor", "ceil", "add1", "toDecimal", "print", "html", "toStrings", "first", "last", "sortAlpha", "b64enc", "trim", "duration"]
    for name, value in itertools.product(one, scalars):
        yield "{{ %s %s }}" % (name, value)
    texts = ['""', '"a"', '"Hello World"', '"foo_bar-baz qux"', '"HTTPServerURL2Name"', '"  padded\\t"', '.Values.unicode', '.Values.words',
             '"a.b.c"', '"ünïcödé straße"', '"x1y22z333"', '"camelCaseWord"', '"__a--b"', '"ABC"', '"a\\nb\\nc"']
    for name, value in itertools.product(["upper", "lower", "title", "untitle", "swapcase", "snakecase", "camelcase", "kebabcase", "initials",
            "nospace", "trim", "sha1sum", "sha256sum", "sha512sum", "adler32sum", "b64enc", "b32enc", "base", "dir", "clean", "ext", "isAbs",
            "urlquery", "js", "html", "quote", "squote", "toJson", "toRawJson", "toYaml", "regexQuoteMeta", "len"], texts):
        yield "{{ %s %s }}" % (name, value)
    for n, value in itertools.product([0, 1, 3, 5, 8, 100, -1, -3, -100], ['""', '"abc"', '"Hello World"', '.Values.unicode', '.Values.words']):
        for name in ["trunc", "abbrev", "indent", "nindent", "wrap", "repeat"]:
            yield "{{ %s %d %s }}" % (name, n, value)
    numbers = ['0', '1', '-1', '2', '7', '-7', '3', '1.5', '"2"', '"x"', '.Values.f', '.Values.big', 'nil', 'true']
    for a, b in itertools.product(numbers[:12], numbers[:9]):
        for name in ["add", "sub", "mul", "div", "mod", "max", "min"]:
            yield "{{ %s %s %s }}" % (name, a, b)
    for a, b in itertools.product(['0', '1', '-1.5', '0.1', '0.2', '3', '"1.1"', '1e10'], repeat=2):
        for name in ["addf", "subf", "mulf", "divf", "maxf", "minf"]:
            yield "{{ %s %s %s }}" % (name, a, b)
    compared = ['1', '1.0', '"1"', 'true', 'nil', '.Values.one', '.Values.nothing', '.Values.s', '(list)', '(int64 1)', '"a"', '.Values.missing']
    for a, b in itertools.product(compared, repeat=2):
        for name in ["eq", "ne", "lt", "ge"]:
            yield "{{ %s %s %s }}" % (name, a, b)
    verbs = ["%v", "%d", "%s", "%q", "%5d|%-5d|%05d".split("|")[0], "%-6v|", "%06d", "%+d", "%x", "%X", "%o", "%b", "%c", "%U", "%e", "%f", "%.2f", "%8.3f",
             "%g", "%t", "%T", "%%", "%#v", "%+v", "% d", "%z", "%6.2s|", "%[1]v %[1]T"]
    for verb, value in itertools.product(verbs, ['1', '-42', '"hi"', '1.5', '1e6', 'true', 'nil', '(list 1 "a")', '(dict "a" 1)', '.Values.f', '.Values.l']):
        yield "{{ printf %s %s }}" % (q(verb), value)
    ranges = ["^1.2.3", "~1.2", ">=1.19-0", ">1.2 <2", "1.x", "*", "1.2 - 1.4", "!=1.2.3", "=1.2.3", "", "^0.2", ">= 1.20.0-0, < 2", "1.2.3 || 2.x", "~> 1.1", "<1.2", "v1.2.3", "junk", ">=1.2.3-beta"]
    for wanted, have in itertools.product(ranges, ["1.2.3", "v1.28.3-eks-abc", "2.0.0-rc.1", "1.3", "0.2.9", "1.2.3-beta", "junk"]):
        yield "{{ semverCompare %s %s }}" % (q(wanted), q(have))
    patterns = ["a+", "[a-z]+", "^x", "(\\\\w+)\\\\s(\\\\w+)", "", "\\\\d", "(?i)FOX", "[", "a|b", "o.", "(?P<n>q)u"]
    for pattern, text in itertools.product(patterns, ['"aaxbb"', '.Values.words', '""', '"a1b2"']):
        pattern = '"%s"' % pattern
        yield "{{ regexMatch %s %s }}" % (pattern, text)
        yield "{{ regexFind %s %s }}" % (pattern, text)
        yield "{{ regexFindAll %s %s -1 | toJson }}" % (pattern, text)
        yield "{{ regexReplaceAll %s %s \"<$1>\" }}" % (pattern, text)
        yield "{{ regexSplit %s %s -1 | toJson }}" % (pattern, text)

def text(name, content, folder):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)

def main():
    helm = sys.argv[1]
    todo = list(dict.fromkeys(expressions()))
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        text("Chart.yaml", "apiVersion: v2\nname: golden\nversion: 1.2.3\nappVersion: \"4.5\"\n", folder)
        text("values.yaml", VALUES, folder)
        for name, content in FILES.items():
            text(name, content, folder)
        for i, expression in enumerate(todo):
            text(f"templates/_e{i:05}.tpl", '{{- define "e%05d" -}}%s{{- end -}}' % (i, expression), folder)
            text(f"templates/e{i:05}.yaml", 'kind: E%05d\nv: {{ include "e%05d" . | b64enc | quote }}\n' % (i, i), folder)
        while True:
            run = subprocess.run([helm, "template", "rel", folder, "-n", "ns", "--kube-version", "1.33.0"], capture_output=True, text=True)
            if run.returncode == 0:
                break
            found = re.search(r"_?e(\d{5})\.(tpl|yaml)", run.stderr) or re.search(r'"e(\d{5})"', run.stderr)
            if not found:
                sys.exit(run.stderr)
            number = int(found.group(1))
            lines = [line.strip() for line in run.stderr.strip().splitlines() if line.strip() and not line.startswith("Use --debug")]
            answers[number] = {"expr": todo[number], "error": re.sub(r"_?e\d{5}(\.tpl|\.yaml)?", "X", lines[-1])}
            for name in (f"templates/_e{number:05}.tpl", f"templates/e{number:05}.yaml"):
                os.remove(os.path.join(folder, name))
        for number, value in re.findall(r"kind: E(\d{5})\nv: \"(.*)\"", run.stdout):
            out = base64.b64decode(value)
            try:
                answers[int(number)] = {"expr": todo[int(number)], "out": out.decode("utf-8")}
            except UnicodeDecodeError:
                answers[int(number)] = {"expr": todo[int(number)], "b64": value}
    with open(os.path.join(HERE, "expressions.jsonl"), "w", encoding="utf-8") as file:
        for number in sorted(answers):
            file.write(json.dumps(answers[number], ensure_ascii=False) + "\n")
    with open(os.path.join(HERE, "chart.json"), "w", encoding="utf-8") as file:
        json.dump({"values": VALUES, "files": FILES}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    errors = sum("error" in answer for answer in answers.values())
    print(f"{len(answers)} expressions, {errors} of them errors")

main()

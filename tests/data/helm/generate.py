#!/usr/bin/env python3
"""Asks the real helm 4 what templates give, and writes expressions.jsonl beside this script.

    TZ=UTC python3 tests/data/helm/generate.py /path/to/helm

Every line holds an expression ("expr"), which stands inside a `define`, or the text of a whole file ("file", from
whole.txt), with its output, or with the error that helm ends in. All of them see one chart, which is described in
chart.json. `@@` in a file stands for a number of its own. Rerun after adding some; helm's answers are never edited by hand.
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

    yield from dates()
    yield from comparisons()
    yield from formats()
    yield from secrets()

def dates():
    layouts = ["2006-01-02T15:04:05Z07:00", "Mon Jan _2 15:04:05 MST 2006", "3:04PM -0700 -07 -07:00:00 Z0700", "02/01/06 .000 .999 __2 002", "January Monday 1 2 3 4 5 pm", "2006"]
    zones = ["UTC", "", "Local", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Sao_Paulo", "Australia/Lord_Howe", "EST", "Etc/GMT+3",
             "europe/berlin", "No/Where", "../etc/passwd", "GMT", "Pacific/Apia", "Asia/Tehran", "Africa/Casablanca"]
    moments = ["1700000000", "1690000000", "0", "-1", "253402300800", "-99999999999", "(int64 1711846799)", '(toDate "2006-01-02 15:04:05 -0700" "2024-03-31 02:30:00 +0100")']
    # Before its first rule, what a zone says depends on the database's age.
    for layout, moment in itertools.product(layouts, moments):
        yield "{{ date %s %s }}" % (q(layout), moment)
    for zone, moment in itertools.product(zones, moments):
        if zone == "EST" and moment.startswith("-9") or zone == "Africa/Casablanca" and moment.startswith("2534"):
            continue
        yield "{{ dateInZone %s %s %s }}" % (q(layouts[1]), moment, q(zone))
    for zone in zones:
        yield "{{ htmlDateInZone 1700000000 %s }}{{ date_in_zone %s 1700000000 %s }}" % (q(zone), q("15:04 MST Z07:00"), q(zone))
    parsed = [("2006-01-02", "2024-02-29"), ("2006-01-02", "2023-02-29"), ("2006-01-02", "2024-2-9"), ("2006-01-02", "24-02-09"), ("2006-1-2", "2024-2-9"),
              ("2006-01-02T15:04:05Z07:00", "2024-05-06T07:08:09Z"), ("2006-01-02T15:04:05Z07:00", "2024-05-06T07:08:09.25+05:30"), ("2006-01-02T15:04:05Z07:00", "2024-05-06T25:08:09Z"),
              ("Jan 2, 2006 at 3:04pm (MST)", "Feb 3, 2013 at 7:54pm (PST)"), ("Jan 2, 2006 at 3:04pm (MST)", "Feb 3, 2013 at 7:54pm (UTC)"), ("Jan 2, 2006 at 3:04pm (MST)", "Feb 3, 2013 at 7:54pm (GMT-8)"),
              ("Mon, 02 Jan 2006 15:04:05 -0700", "Tue, 10 Nov 2009 23:00:00 +0000"), ("Monday January", "friday march"), ("2006 002", "2024 366"), ("2006 002", "2023 366"), ("2006 __2", "2023  45"),
              ("2006-01-02 15:04:05", "2024-05-06 07:08:09.123"), ("15:04:05.000", "07:08:09.12"), ("15:04:05.999", "07:08:09"), ("2006  01", "2024 05"), ("2006", "2024 x"), ("2006x", "2024"), ("", ""), ("", "x"),
              ("3:04PM", "12:30AM"), ("3:04PM", "12:30PM"), ("3:04PM", "13:30PM"), ("2006 MST", "2024 CEST"), ("2006 MST", "2024 ABCDE"), ("2006 MST", "2024 abc"), ("2006 -07", "2024 +25"), ("2006 MST", "2024 +03"), ("2006-01-02 MST -0700", "2024-01-02 CET +0100")]
    for layout, text in parsed:
        yield "{{ toDate %s %s }}" % (q(layout), q(text))
        yield "{{ mustToDate %s %s | unixEpoch }}" % (q(layout), q(text))
        yield "{{ mustToDate %s %s | date %s }}" % (q(layout), q(text), q("2006-01-02T15:04:05.999Z07:00 MST"))
    start = '(toDate "2006-01-02" "2024-02-28")'
    for span in ["24h", "-1.5h", "1h15m30.918273645s", "36500h", "x", "", "1", "1d", "9999999h", "1us", "+5m", "0", "-0", "1h-5m", ".5s", "."]:
        yield "{{ dateModify %s %s }}{{ date_modify %s %s }}" % (q(span), start, q(span), start)
        yield "{{ mustDateModify %s %s }}" % (q(span), start)
        yield "{{ must_date_modify %s %s }}" % (q(span), start)
        yield "{{ durationRound %s }}" % q(span)
    for value in ['"95"', "95", "(int64 95)", '"x"', "nil", "1.5", '"-3600"', '"99999999999999999999"', '"9223372036854775807"', "true", "(int64 -1)", '""', '"1h"', "(int64 7200000000000)", '"2400h10m5s"', '"30h"', '"8761h"', '"721h"', '"59s"', '"61s"', '"-61s"', '"1.5s"', '"1s"']:
        yield "{{ duration %s }}" % value
        yield "{{ durationRound %s }}" % value
    for call in ["now.IsZero", "now.Location", "(now.UTC).IsZero", start + ".Year", start + ".Month", start + ".Weekday", start + ".Day", start + ".YearDay", start + ".Hour", start + ".Unix", start + ".UnixMilli", start + ".UnixMicro", start + ".UnixNano",
                 start + '.Format "2006"', start + ".Format", start + ".Format 1", start + ".AddDate 1 2 3", start + ".AddDate 1", start + ".Add 1000000000", start + ".Equal " + start, start + ".missing",
                 "unixEpoch 1", "unixEpoch nil", "htmlDate 0", "htmlDate nil | len", 'date "2006" nil | len', 'date 1 2', "ago (int64 0) | len | lt 5", 'ago "x"', "toJson " + start, "toYaml " + start, "kindOf " + start, "typeOf " + start, "print " + start, start + " | quote"]:
        yield "{{ %s }}" % call

def comparisons():
    values = ["1", "2", "-1", "1.5", "2.0", '"a"', '""', "true", "false", "nil", "(int64 1)", '(index "abc" 1)', "'b'", ".Values.one", ".Values.f", ".Values.nothing", ".Values.missing", "(list)", "(list 1)", "(dict)", ".Values.m", '(toDate "2006" "2024")',
              "(semver \"1.2.3\")", "(splitList \",\" \"a\")", "(.Files.GetBytes \"files/a.txt\")", ".Capabilities.KubeVersion", "(print 1)", "1e3"]
    for a, b in itertools.product(values, repeat=2):
        yield "{{ eq %s %s }}" % (a, b)
        yield "{{ lt %s %s }}" % (a, b)
    for a, b in itertools.product(values[:12], repeat=2):
        yield "{{ gt %s %s }}{{ le %s %s }}{{ ge %s %s }}{{ ne %s %s }}" % (a, b, a, b, a, b, a, b)
    for name in ["eq", "ne", "lt", "le", "gt", "ge"]:
        yield "{{ %s }}" % name
        yield "{{ %s 1 }}" % name
        yield "{{ %s 1 2 3 }}" % name
    for name, value in itertools.product(["len", "not", "html", "js", "urlquery", "print", "println", "kindOf", "typeOf", "empty", "toJson", "quote", "index", "slice", "toString"], values):
        yield "{{ %s %s }}" % (name, value)
    for value, key in itertools.product(["(list 1 2 3)", '"abc"', "(dict \"a\" 1)", ".Values.m", ".Values.ls", ".Values.nested", "(.Files.GetBytes \"files/a.txt\")", ".Files", ".Values", "nil"],
                                        ["0", "1", "3", "-1", '"a"', "nil", "1.0", "(int64 1)", ".Values.one", "true", '(index "abc" 1)', "'\\x01'"]):
        yield "{{ index %s %s }}" % (value, key)
        yield "{{ slice %s %s }}" % (value, key)
        # A byte slice may grow to its capacity, which is the allocator's business.
        if not ("GetBytes" in value and key.startswith("(index")):
            yield "{{ slice %s 0 %s }}" % (value, key)

def formats():
    verbs = ["%5d|", "%-5d|", "%05d|", "%+05d", "% 05d", "%+.1f", "%08.3f", "%-8.3f|", "%+8.1e|", "%G", "%E", "%x", "%X", "%#x", "% x", "%# x", "%#X", "%o", "%#o", "%O", "%b", "%#b", "%q", "%#q", "%+q", "%c", "%5c|", "%U", "%#U", "%t", "%5t|", "%v", "%5v|", "%-5v|", "%05v|", "%+v", "%#v", "%T", "%10T|",
             "%s", "%10s|", "%-10s|", "%010s|", "%.1s", "%.0s|", "%5.1s|", "%.10d", "%8.5d|", "%-8.5d|", "%.0d", "%p", "%w", "%z", "%!", "%", "%5", "%[1]d", "%[2]d", "%[1]d %[1]v", "%[x]d", "%[0]d", "%*d", "%-*d|", "%.*f", "%[1]*d", "%d %d", "%v %v", "x", "%%", "%5%", "%.3x", "%.3q", "%6.3v|", "%1.1.1f", "%é", "%+s", "%-+5d|", "%+-5d|", "%#g", "%#.3g", "%#v %T", "% +d", "%1000000d", "%.1000000f"]
    values = ["1", "-42", "0", '"hi"', '"h\u00e9\\x00`"', '""', "1.5", "-0.0", "1e6", "1e21", "true", "nil", '(list 1 "a" 2.5 nil)', '(dict "a" 1 "b" (list))', ".Values.l", ".Values.ls", ".Values.missing", "(int64 7)", '(index "abc" 1)', "'x'", '(.Files.GetBytes "files/a.txt")', '(splitList "," "a,b")', '(semver "1.2.3-a")', '(toDate "2006" "2024")', ".Values.m"]
    for verb, value in itertools.product(verbs, values):
        # Very wide output says nothing; addresses and the fields of a time change from run to run.
        if "1000000" in verb and value not in ("1", '"hi"') or verb in ("%p", "%w") or "[1]d %[" in verb and "toDate" in value or ("toDate" in value or "semver" in value) and (verb[-1:] not in "vsqT" or "#" in verb):
            continue
        yield "{{ printf %s %s }}" % (q(verb), value) if "1000000" not in verb else "{{ printf %s %s | len }}" % (q(verb), value)
    for args in ['"%d %s"', '"%d" 1 2 3', '"%[2]d %[1]d" 1 2', '"%[2]*[1]d|" 3 5', '"%*d|" -5 3', '"%*d|" "x" 3', '"%.*f" 2 3.14159', '"%[3]*.[2]*[1]f|" 12.0 2 6', '"%6.2f%%" 99.5', '"%[1]d %d %d" 1 2', '"%[5]d" 1', '"%[]d" 1', '"%[1]" 1', '1', '', '"%s" 1 "a"', '"%v" (dict "x" (dict "y" nil))', '"%s" (list "a" (list "b" 1))', '"%d" (list 1 (list 2 "x"))', '"%x" (list "ab" 1)', '"%q" (list "a" 1 nil)', '"%t" (list true 1)', '"%5d" (list 1 2)', '"%-5s|" (list "a" "b")', '"%#v" (dict "a" (list 1 "b" nil true 1.5))']:
        yield "{{ printf %s }}" % args
    scalars = ["1", "2.5", '"a"', '""', "true", "nil", "(list 1)", '"b c"', ".Values.missing"]
    for a, b in itertools.product(scalars, repeat=2):
        yield "{{ print %s %s }}|{{ println %s %s }}|{{ html %s %s }}|{{ urlquery %s %s }}|{{ js %s %s }}" % (a, b, a, b, a, b, a, b, a, b)
    for name, a, b in itertools.product(["and", "or"], scalars, scalars):
        yield "{{ %s %s %s }}|{{ %s | %s %s }}" % (name, a, b, b, name, a)

def secrets():
    for kind in ["maximum", "long", "medium", "short", "basic", "pin", "junk", ""]:
        yield '{{ derivePassword 1 %s "password" "user" "example.com" }}' % q(kind)
    yield '{{ derivePassword 2 "long" "password" "user" "example.com" }}{{ derivePassword 4294967295 "maximum" "" "" "" }}'
    yield '{{ derivePassword 1 "long" "pässword" "üser" "exämple.com" }}'
    for arguments in ['-1 "long" "a" "b" "c"', '4294967296 "long" "a" "b" "c"', '1 "long" "a" "b"', '"1" "long" "a" "b" "c"', '1.5 "long" "a" "b" "c"', '(int64 1) "long" "a" "b" "c"', '.Values.one "long" "a" "b" "c"']:
        yield "{{ derivePassword %s }}" % arguments
    for arguments in ['"" ""', '"secretkey" "30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ="', '"k" "30tEfhuJSVRhpG97XCuWgz2okj7L8vQ1s6V9zVUPeDQ="', '"k" "%"', '"k" "YWJj"', '"k" "30tEfhuJSVRhpG97XCuWgw=="', '"k" "30tEfhuJSVRhpG97XCuWgz2o"', '1 ""', '"k"']:
        yield "{{ decryptAES %s }}" % arguments
    yield '{{ encryptAES "k" "text" | decryptAES "k" }}{{ encryptAES "" "0123456789abcdef" | decryptAES "" }}{{ encryptAES "a key of more than thirty-two bytes, cut" "x" | decryptAES "a key of more than thirty-two bytes" }}{{ encryptAES "k" "" }}'
    yield '{{ encryptAES "k" "0123456789abcdef" | len }}{{ randBytes 16 | len }}{{ randBytes 0 }}'
    for call in ['bcrypt "a" | len', 'bcrypt "%s"' % ("x" * 73), 'bcrypt "%s" | len' % ("x" * 72), 'bcrypt "a" | trunc 7', 'bcrypt 1', 'htpasswd "u" "p" | len', 'htpasswd "a:b" "p"', 'htpasswd "u"', 'randBytes -1', 'randBytes "a"',
                 'genPrivateKey "x"', 'genPrivateKey', 'genPrivateKey 1', 'genCA "a"', 'genCA "a" "b"', 'genCAWithKey "a" 1 ""', 'genCAWithKey "a" 1 "x"', 'genSelfSignedCert "a" (list 1) (list) 1', 'genSelfSignedCert "a" (list "300.1.1.1") (list) 1', 'genSelfSignedCert "a" (list "010.1.1.1") (list) 1', 'genSelfSignedCert "a" nil (list 1) 1',
                 '(genSelfSignedCert "a" nil nil 1).Cert | trunc 27', '(genCA "a" 1).Key | trunc 31', '(genCA "a" 1).Nope', '(genCA "" -5).Cert | trunc 27', '(genCA "a" 106752).Cert | trunc 27', '(genSelfSignedCert "a" nil (list "\u00e9") 1).Cert', 'genSignedCert "a" nil nil 1 nil', 'genSignedCert "a" nil nil 1 (dict)', 'genSelfSignedCert "a" "b" nil 1', 'genSelfSignedCert "a" (splitList "," "1.1.1.1") nil 1',
                 'buildCustomCert "%" ""', 'buildCustomCert "" "%"', 'buildCustomCert "" ""', 'buildCustomCert (b64enc "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----") ""', 'genPrivateKey "ecdsa" | trunc 30', 'genPrivateKey "ed25519" | trunc 27', 'genPrivateKey "ecdsa" | genCAWithKey "a" 1 | kindOf', 'genPrivateKey "ed25519" | genCAWithKey "a" 1 | typeOf', 'genPrivateKey "ecdsa" | replace "EC" "RSA" | genCAWithKey "a" 1', 'genPrivateKey "ecdsa" | replace "EC PRIVATE" "PUBLIC" | genCAWithKey "a" 1', 'genPrivateKey "ecdsa" | replace "EC" "ODD" | genCAWithKey "a" 1',
                 'genPrivateKey "ecdsa" | genSelfSignedCertWithKey "a" nil (list "a") 1 | kindOf', 'genSignedCertWithKey "a" nil nil 1 (genCA "b" 1) (genPrivateKey "ecdsa") | kindOf', 'genSignedCert "a" nil nil 1 (genCA "b" 1) | kindOf', 'uuidv4 | len', 'sha512sum "a"', 'sha1sum 1', 'adler32sum ""',
                 'shuffle "" | len', 'shuffle "abc" | len', 'randAlphaNum -1', 'randAlphaNum 5 | len', 'randAscii 5 | len', 'randInt 0 1', 'randInt 3 2', 'randInt 5 5']:
        yield "{{ %s }}" % call

def text(name, content, folder):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)

def whole():
    yield from open(os.path.join(HERE, "whole.txt"), encoding="utf-8").read().split("\n%%\n")[:-1]

def ask(helm, todo):
    """Asks for a list of (key, text) in one chart; what fails is taken out and the chart rendered again."""
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        text("Chart.yaml", "apiVersion: v2\nname: golden\nversion: 1.2.3\nappVersion: \"4.5\"\n", folder)
        text("values.yaml", VALUES, folder)
        for name, content in FILES.items():
            text(name, content, folder)
        for i, (key, template) in enumerate(todo):
            name, body = "e%05d" % i, '{{- define "e%05d" -}}%s{{- end -}}' % (i, template)
            if key == "file":
                name, body = "golden/templates/_e%05d.tpl" % i, template.replace("@@", "%05d" % i)
            text(f"templates/_e{i:05}.tpl", body, folder)
            text(f"templates/e{i:05}.yaml", 'kind: E%05d\nv: {{ include "%s" . | b64enc | quote }}\n' % (i, name), folder)
        while True:
            run = subprocess.run([helm, "template", "rel", folder, "-n", "ns", "--kube-version", "1.33.0"], capture_output=True, text=True,
                                 env={**os.environ, "TZ": "UTC"})
            if run.returncode == 0:
                break
            found = re.search(r"_?e(\d{5})\.(tpl|yaml)", run.stderr) or re.search(r'"e(\d{5})"', run.stderr)
            if not found:
                sys.exit(run.stderr)
            number = int(found.group(1))
            lines = [line.strip() for line in run.stderr.strip().splitlines() if line.strip() and not line.startswith("Use --debug")]
            answers[number] = {"error": re.sub(r"_?e\d{5}(\.tpl|\.yaml)?", "X", lines[-1])}
            for name in (f"templates/_e{number:05}.tpl", f"templates/e{number:05}.yaml"):
                os.remove(os.path.join(folder, name))
        for number, value in re.findall(r"kind: E(\d{5})\nv: \"(.*)\"", run.stdout):
            try:
                answers[int(number)] = {"out": base64.b64decode(value).decode("utf-8")}
            except UnicodeDecodeError:
                answers[int(number)] = {"b64": value}
    return [{todo[number][0]: todo[number][1], **answers[number]} for number in sorted(answers)]

def main():
    todo = list(dict.fromkeys([("expr", text) for text in expressions()] + [("file", text) for text in whole()]))
    # Small charts: each error costs one more rendering of its chart.
    parts = [todo[i:i + 60] for i in range(0, len(todo), 60)]
    answers = [answer for part in parts for answer in ask(sys.argv[1], part)]
    with open(os.path.join(HERE, "expressions.jsonl"), "w", encoding="utf-8") as file:
        for answer in answers:
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")
    with open(os.path.join(HERE, "chart.json"), "w", encoding="utf-8") as file:
        json.dump({"values": VALUES, "files": FILES}, file, indent=1, ensure_ascii=False)
        file.write("\n")
    errors = sum("error" in answer for answer in answers)
    print(f"{len(answers)} answers, {errors} of them errors")

main()

"""Writes lines.json: odd lines of parameters, and what Python's own `re` and `json` find in them by the rule that
spec/product.md B1 gives.

Run:  python make_lines.py      (Python 3; a second)
"""

import json
import pathlib
import random
import re

RULE = re.compile(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
PIECES = [
    "ab", "k e", "-", "/", "_", "é", "海", "9", " ", "  ", ": ", ":", ",", ", ", '"', '\\"', "\\", "\t", "(x:1.2)", "@",
    '"a, b"', '"c: \\"d\\", e"', "Key: ", "Other key: ", "va-l/ue", "\u3000",
]


def value(text):
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text


random.seed(1)
lines = []
while len(lines) < 120:
    line = "".join(random.choices(PIECES, k=random.randrange(8, 36))).strip()
    found = [[key.strip(), value(text)] for key, text in RULE.findall(line)]
    # Below three the line is no line of parameters: a few of those will do.
    if line and (len(found) > 2 or len(lines) < 40):
        lines.append([line, found])
(pathlib.Path(__file__).parent / "lines.json").write_text(
    "[\n" + ",\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n]\n"
)

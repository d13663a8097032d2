"""Texts of a file, answered by a bulk run."""

import json
from pathlib import Path

import yagrpc

rows = Path("rows.txt").read_text("utf-8").splitlines()
with yagrpc.Client() as client:
    results = client.bulk(rows, journal="journal").results()
Path("answers.json").write_text(json.dumps([result.text for result in results]), "utf-8")

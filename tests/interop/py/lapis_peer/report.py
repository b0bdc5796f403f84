"""What this program tells others: one JSON object a line, on standard output."""

import json


def say(**fields: object) -> None:
    """Writes one line."""
    print(json.dumps(fields), flush=True)

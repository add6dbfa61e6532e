# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a foreign inventory with Ansible's own parser, as a process of its own: `python -I child.py SOURCE FORMATS`.

What is read may be anything, so this process has little memory and time, and Ansible has the parsers of files alone: no scripts,
no plugins, no vault. The inventory goes to standard output, as `ansible-inventory --list --export` prints it. On failure the last
line of standard error is JSON: {"file", "line", "reason"}.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import sys
from typing import Any

MEMORY = 2 * 2**30  # bytes of address space; Ansible itself takes a fifth of it
SECONDS = 30  # of a processor
OUTPUT = 64 * 2**20  # bytes
_place: dict[str, Any] = {}


def main() -> int:
    source, formats = sys.argv[1:3]
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_FSIZE, OUTPUT),
        (resource.RLIMIT_CORE, 0),
    ):  # fmt: skip
        resource.setrlimit(limit, (most, most))
    os.environ["ANSIBLE_INVENTORY_ENABLED"] = formats
    code = 1
    try:
        _note_lines()
        from ansible.cli.inventory import InventoryCLI

        cli = InventoryCLI(["ansible-inventory", "-i", source, "--list", "--export"])
        cli.parse()
        cli.run()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except OSError as error:
        _place.update(
            reason=f"it means more than {OUTPUT} bytes" if error.errno == errno.EFBIG else str(error)
        )
    except MemoryError:
        _place.update(reason="reading it takes more memory than is allowed")
    except RecursionError:
        _place.update(reason="it is nested too deep")
    except Exception as error:
        _place.setdefault("reason", " ".join(str(error).split()))
        code = 1
    if code:
        sys.stdout.flush()
        print(json.dumps(_diagnosis(source, formats)), file=sys.stderr)
    return code


def _note_lines() -> None:
    """Have the parser of INI files remember in which line it was; its message does not say it."""
    from ansible.plugins.inventory.ini import InventoryModule

    whole = InventoryModule._parse

    def noting(self: Any, lines: list[str]) -> None:
        try:
            whole(self, lines)
        except Exception as error:
            line = getattr(self._origin, "line_num", None)
            reason = " ".join(str(error).split())
            _place["ini"] = {"file": str(getattr(self._origin, "path", "")), "line": line, "reason": reason}
            raise

    InventoryModule._parse = noting


def _diagnosis(source: str, formats: str) -> dict[str, Any]:
    """Where it is wrong, as far as that can be told."""
    files = [source]
    if os.path.isdir(source):
        files = [
            os.path.join(folder, name)
            for folder, _inner, names in sorted(os.walk(source))
            for name in sorted(names)
        ]
    yaml_like = [one for one in files if os.path.splitext(one)[1] in (".yml", ".yaml", ".json", "")]
    if formats.split(",")[0] == "ini" and "ini" in _place:
        return dict(_place["ini"])
    for file in yaml_like:
        found = _yaml_error(file)
        # a file without a suffix may be the other format as well
        if found and ("ini" not in _place or os.path.splitext(file)[1] or file != _place["ini"]["file"]):
            return found
    if "ini" in _place:
        return dict(_place["ini"])
    return {"file": source, "line": None, "reason": _place.get("reason", "")}


def _yaml_error(file: str) -> dict[str, Any] | None:
    import yaml

    try:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
        for _event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(filter(None, (error.problem, error.context)))
        return {"file": file, "line": mark.line + 1 if mark else None, "reason": reason}
    except yaml.YAMLError as error:
        return {"file": file, "line": None, "reason": " ".join(str(error).split())}
    except UnicodeDecodeError as error:
        return {"file": file, "line": None, "reason": f"it is no UTF-8 text ({error.reason})"}
    except OSError:
        return None
    return None


if __name__ == "__main__":
    sys.exit(main())

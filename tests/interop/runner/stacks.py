"""The foreign peers: how each of them is started. All of them take the same commands."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Stack:
    """One implementation."""

    name: str
    program: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        """The command line for `arguments`."""
        return [*self.program, *arguments]


def python_stack(interpreter: Path) -> Stack:
    """py-libp2p, remerkleable, c-kzg."""
    return Stack("py", (str(interpreter), "-m", "lapis_peer"), {"PYTHONPATH": str(ROOT / "py")})


def javascript_stack(home: Path) -> Stack:
    """js-libp2p, Lodestar's request/response package, @chainsafe/ssz."""
    return Stack("js", ("node", str(home / "src" / "main.js")))

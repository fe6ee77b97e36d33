"""ruamel's emitter, which looks at each character of each text in Python; where a pattern decides the same, it decides here.

A manifest with sidecars is mostly such texts: words, and files of tens of kilobytes in one line of JSON.
"""

import re
from typing import Any, Final

from ruamel.yaml.emitter import RoundTripEmitter, ScalarAnalysis

_PLAIN_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")
_PRINTABLE: Final = re.compile(r"[ -~]*")
_INDICATORS: Final = frozenset("#,[]{}&*!|>'\"%@`")
"""What no plain scalar begins with (YAML 1.2.2, production 126)."""


class Emitter(RoundTripEmitter):
    """Writes what ruamel's writes, byte for byte."""

    def analyze_scalar(self, scalar: str) -> ScalarAnalysis:
        """Returns the styles that a text may have."""
        if _PLAIN_WORD.fullmatch(scalar):
            return _allowing(scalar, plain=True, block=True)
        if scalar[:1] in _INDICATORS and _PRINTABLE.fullmatch(scalar):
            return _allowing(scalar, plain=False, block=not scalar.endswith(" "))
        found: ScalarAnalysis = super().analyze_scalar(scalar)
        return found

    def write_double_quoted(self, text: str, split: Any = True) -> None:  # noqa: FBT002  # ruamel's signature, and its Any
        """Writes a text in double quotes; one that is printable and need not be folded goes out as a whole."""
        folded = self.column + 2 * len(text) > self.best_width
        if folded or self.root_context or not _PRINTABLE.fullmatch(text):
            super().write_double_quoted(text, split)
            return
        self.write_indicator('"', need_whitespace=True)
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        self.column += len(escaped)
        self.stream.write(escaped.encode(self.encoding) if self.encoding else escaped)
        self.write_indicator('"', need_whitespace=False)


def _allowing(scalar: str, *, plain: bool, block: bool) -> ScalarAnalysis:
    return ScalarAnalysis(
        scalar=scalar,
        empty=False,
        multiline=False,
        allow_flow_plain=plain,
        allow_block_plain=plain,
        allow_single_quoted=True,
        allow_double_quoted=True,
        allow_block=block,
    )

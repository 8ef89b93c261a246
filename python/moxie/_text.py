"""Text on its way out: stop texts are held back until they are decided."""

from __future__ import annotations

from typing import List, Sequence


class StopTexts:
    """Cuts a stream of text at the first of some texts; what may be the beginning of one waits."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.found = False

    def push(self, text: str) -> str:
        """The text that is certain by now."""
        self._held += text
        places = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if places:
            self.found = True
            out, self._held = self._held[: min(places)], ""
            return out
        wait = max((self._overlap(stop) for stop in self._stops), default=0)
        cut = len(self._held) - wait
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self, text: str = "") -> str:
        """What is left at the end."""
        out = self.push(text)
        out, self._held = out + self._held, ""
        return out

    def _overlap(self, stop: str) -> int:
        for size in range(min(len(stop) - 1, len(self._held)), 0, -1):
            if self._held.endswith(stop[:size]):
                return size
        return 0


def stop_list(stop: object) -> List[str]:
    """None, a text or a list of texts, as a list."""
    if stop is None:
        return []
    if isinstance(stop, str):
        return [stop]
    stops: List[str] = list(stop)  # type: ignore[call-overload]
    for one in stops:
        if not isinstance(one, str):
            raise TypeError(f"stop holds {one!r}; it must hold texts")
    return stops

"""The plan as a picture: a row for each step and each hook, with the time that it has in the worst case."""

from __future__ import annotations

from graceful._observe.drawing import LEFT, MARGIN, RIGHT, ROW, WIDTH, Drawing, escape
from graceful._observe.plan_formats import Planned
from graceful._observe.planned import PlannedHook, PlannedStep
from graceful._observe.timeline import duration

__all__ = ["as_svg"]

#: How each kind of hook is painted.
_COLOURS = {
    "on_exception": "timed-out",
    "background": "skipped",
    "resource": "ok",
    "cleanup": "ok",
    "flush": "ok",
    "drain": "cause",
}


def as_svg(plan: Planned) -> str:
    """The worst case as an SVG document."""
    title = f"{plan.app}: a shutdown in the worst case"
    hooks = [hook for step in plan.steps for hook in step.hooks if hook.kind != "background"]
    counted = "1 hook" if len(hooks) == 1 else f"{len(hooks)} hooks"
    summary = f"grace {plan.grace:g} s; {counted}; the supervisor must wait {plan.supervisor_timeout} s"
    drawing = _PlanDrawing(plan.grace)
    drawing.text(MARGIN, 24, title, "text", size=15, room=WIDTH - 2 * MARGIN, weight=600)
    drawing.text(MARGIN, 41, summary, "dim", size=11, room=WIDTH - 2 * MARGIN)
    for step in plan.steps:
        drawing.step(step)
    drawing.axis([step.at for step in plan.steps if step.name in ("drain", "cancel", "cleanup", "finish", "flush")])
    return drawing.document(title, _spoken(plan, summary))


class _PlanDrawing(Drawing):
    """What a plan draws."""

    def step(self, step: PlannedStep) -> None:
        """A heading, a line of what happens, and a row for each hook."""
        self.heading(step.name, step.what)
        self._bar("at most", "", "step", step.at, step.end, duration(step.end - step.at))
        for hook in step.hooks:
            name = f"{hook.name} ({hook.kind})" if hook.kind in ("resource", "background") else hook.name
            self._bar(name, _tooltip(hook), _COLOURS[hook.kind], hook.at, hook.end, duration(hook.allowed))

    def _bar(self, name: str, told: str, kind: str, at: float, end: float, says: str) -> None:
        self._parts.append(f"<g><title>{escape(told or f'{name}, {_span(at, end)}')}</title>")
        self._y += ROW
        colour, size = ("dim", 11) if kind == "step" else ("text", 12)
        self.text(MARGIN + 8, self._y, name, colour, size=size, room=LEFT - MARGIN - 14)
        self._interval("grid-fill" if kind == "step" else kind, at, end)
        self.text(WIDTH - MARGIN, self._y, says, "dim", size=11, room=WIDTH - MARGIN - RIGHT - 8, end=True)
        self._parts.append("</g>")


def _span(at: float, end: float) -> str:
    return f"from {at:.2f} s to {end:.2f} s"


def _tooltip(hook: PlannedHook) -> str:
    beside = f", beside {', '.join(hook.beside)}" if hook.beside else ""
    return f"{hook.name} ({hook.where}), {_span(hook.at, hook.end)}, has {duration(hook.allowed)}{beside}"


def _spoken(plan: Planned, summary: str) -> str:
    """What the picture shows, for those who do not see it."""
    lines = [summary]
    for step in plan.steps:
        lines.append(f"{step.name}, {_span(step.at, step.end)}: {step.what}")
        lines += map(_tooltip, step.hooks)
    return ".\n".join(lines)

"""Who is asked the same once a request is answered, and never serves: a model in the shadow."""

from __future__ import annotations

from collections.abc import Sequence

from router.decisions import Shade
from router.offers import Sheet
from router.route import Route, goes_on
from router.types import Request


def shade_of(request: Request, route: Route, sheet: Sheet, order: Sequence[str]) -> Shade | None:
    """The rule's shadow, where it is drawn for a request.

    Not where its model serves anyway, and not in the middle of a tool loop: what another model began there, with its
    calls and whatever parts of them only its provider understands, tells little about what this one would do.

    Args:
        request: what is asked.
        route: its rule.
        sheet: what models offer for it.
        order: the plan.
    """
    shadow = route.rule.shadow if route.rule is not None else None
    if shadow is None or not order or order[0] == shadow.model or goes_on(request):
        return None
    value = shadow.value(request)
    if value is None or not shadow.draws(route.name, value):
        return None
    barred = sheet.offer(shadow.model, needs_evidence=False, is_spare=True, is_tried=True).barred
    return Shade(name=shadow.key(route.name), model=shadow.model, barred=barred)

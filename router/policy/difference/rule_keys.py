"""What changes in a rule's limits, cache, data, trial, session and learning."""

from __future__ import annotations

from router.policy.caching import Caching
from router.policy.canary import Canary
from router.policy.data import RuleData
from router.policy.difference.told import Effect, Told
from router.policy.difference.words import joined_left, other_fields, plain, quoted, seconds, several, usd
from router.policy.schema import Rule
from router.policy.shadow import Shadow

_SAID = (
    "name", "when", "from_", "until", "bar", "strategy", "candidates", "fallback", "max_cost_usd", "max_latency_ms",
    "cache", "data", "canary", "shadow", "buffer", "verifier",
)  # fmt: skip
_CACHES = {
    "off": "no answer is stored", "exact": "the same request gets the stored answer",
    "shadow": "the same request gets the stored answer; alike ones are watched and not served",
    "on": "the same request gets the stored answer, and alike ones do where that is certified",
}  # fmt: skip


def key_changes(before: Rule, after: Rule) -> Told:
    """What a rule says otherwise, besides whom it meets and whom it asks."""
    yield from _cost(before, after)
    yield from _latency(before, after)
    yield from data_changes(before.data, after.data)
    yield from cache_changes(before.cache, after.cache)
    yield from canary_changes(before.canary, after.canary)
    yield from shadow_changes(before.shadow, after.shadow)
    if before.verifier != after.verifier:
        yield (
            (
                f"{after.verifier} may verify answers of its cascade"
                if after.verifier
                else (f"answers are not verified by {before.verifier} any more")
            ),
            None,
        )
    if before.buffer is not after.buffer:
        yield (
            (
                "streams may be held back until the cascade is decided"
                if after.buffer
                else ("streams get a single call, and no cascade")
            ),
            None,
        )
    yield from ((text, None) for text in other_fields(before, after, _SAID))


def _cost(before: Rule, after: Rule) -> Told:
    old, new = before.max_cost_usd, after.max_cost_usd
    if old == new:
        return
    if new is None and old is not None:
        yield f"one request may cost anything (it was at most {usd(old)})", "loosens"
    elif old is None and new is not None:
        yield f"one request may cost at most {usd(new)}", "tightens"
    elif old is not None and new is not None:
        yield f"one request may cost at most {usd(new)} instead of {usd(old)}", "loosens" if new > old else "tightens"


def _latency(before: Rule, after: Rule) -> Told:
    old, new = before.max_latency_ms, after.max_latency_ms
    if old == new:
        return
    if new is None:
        yield f"models may be as slow as they are (it was at most {old:,} ms expected)", "loosens"
    elif old is None:
        yield f"only models expected to take at most {new:,} ms", "tightens"
    else:
        yield f"models may take {new:,} ms instead of {old:,} ms", "loosens" if new > old else "tightens"


def data_changes(before: RuleData, after: RuleData) -> Told:
    """Where requests may be sent that they might not, and what is kept of them."""
    if before.refuse != after.refuse:
        if after.refuse is None:
            yield "refuses its requests no more", "loosens"
        else:
            yield f"refuses its requests: {after.refuse}", "tightens" if before.refuse is None else None
    if before.local_only is not after.local_only:
        if after.local_only:
            yield "data stays on this machine or in a private network", "tightens"
        else:
            yield "data may leave this machine and the private network", "loosens"
    if before.regions != after.regions:
        new, old = after.regions, before.regions
        if new is None:
            yield f"data may go to any region (it was only {several(old or [], 'or')})", "loosens"
        elif old is None:
            yield f"data goes only to {several(new, 'or')}", "tightens"
        elif set(new) != set(old):
            yield (
                f"data goes only to {several(new, 'or')} instead of {several(old, 'or')}",
                ("tightens" if set(new) < set(old) else "loosens"),
            )
    if before.log != after.log:
        if after.log == "none":
            yield "nothing of the text is kept", "tightens"
        else:
            yield "text may be kept, as `data.store_text` says", "loosens"
    yield from ((text, None) for text in other_fields(before, after, ("refuse", "local_only", "regions", "log")))


def cache_changes(before: Caching, after: Caching) -> Told:
    """Which answers may be served again that might not, and how sure that is."""
    if before.mode != after.mode:
        yield (
            f"cache {after.mode} instead of {before.mode}: {_CACHES[after.mode]}",
            ("loosens" if after.mode == "on" else None),
        )
    if not after.keeps or not before.keeps:
        return
    if before.max_error != after.max_error and after.looks_alike:
        yield (
            f"of alike answers at most {100 * after.max_error:g} % may be wrong, before {100 * before.max_error:g} %",
            ("loosens" if after.max_error > before.max_error else "tightens"),
        )
    if before.confidence != after.confidence and after.looks_alike:
        yield (
            f"confidence of the cache's bound {after.confidence:g} instead of {before.confidence:g}",
            ("loosens" if after.confidence < before.confidence else "tightens"),
        )
    if before.ttl != after.ttl:
        yield f"stored answers serve for {seconds(after.ttl)}, before {seconds(before.ttl)}", None
    new, gone = joined_left(before.tags, after.tags)
    if new:
        yield f"stored answers are for the same {several(new)} only", "tightens"
    if gone:
        yield f"stored answers may serve another {several(gone, 'or')}", "loosens"
    if before.hide_hits is not after.hide_hits:
        yield (
            (
                "the time of an answer does not tell whether it was stored"
                if after.hide_hits
                else ("the time of an answer tells whether it was stored")
            ),
            "tightens" if after.hide_hits else "loosens",
        )
    told = ("mode", "max_error", "confidence", "ttl", "tags", "hide_hits")
    yield from ((f"cache: {text}", None) for text in other_fields(before, after, told))


def canary_changes(before: Canary | None, after: Canary | None) -> Told:
    """Who is on trial for how many requests."""
    if before == after:
        return
    if after is None and before is not None:
        yield f"{before.model} is not on trial any more (it had {100 * before.percent:g} % of the requests)", None
    elif before is None and after is not None:
        drawn = f" of the values of {quoted(after.by)}" if after.by else " of the requests"
        yield f"{after.model} on trial for {100 * after.percent:g} %{drawn}, without evidence", "loosens"
    elif before is not None and after is not None:
        if before.model != after.model:
            yield f"{after.model} on trial instead of {before.model}", "loosens"
        if before.percent != after.percent:
            yield (
                f"{after.model} on trial for {100 * after.percent:g} % instead of {100 * before.percent:g} %",
                ("loosens" if after.percent > before.percent else "tightens"),
            )
        old, new = before.rollback, after.rollback
        if old.errors != new.errors:
            yield (
                f"the trial ends at {100 * new.errors:g} % errors, before at {100 * old.errors:g} %",
                ("loosens" if new.errors > old.errors else "tightens"),
            )
        if old.quality != new.quality:
            looser = new.quality is None or (old.quality is not None and new.quality < old.quality)
            yield (
                f"the trial ends below a mean score of {plain(new.quality)}, before {plain(old.quality)}",
                ("loosens" if looser else "tightens"),
            )
        if old.latency_ms != new.latency_ms:
            late = ["nothing" if one is None else f"{one:,} ms" for one in (new.latency_ms, old.latency_ms)]
            looser = new.latency_ms is None or (old.latency_ms is not None and new.latency_ms > old.latency_ms)
            yield (
                f"the trial ends on answers that take longer than {late[0]}, before {late[1]}",
                ("loosens" if looser else "tightens"),
            )
        yield from ((f"trial: {text}", None) for text in other_fields(before, after, ("model", "percent", "rollback")))


def shadow_changes(before: Shadow | None, after: Shadow | None) -> Told:
    """Who is asked as well, for nobody: what is asked goes there, too."""
    if before == after:
        return
    if after is None and before is not None:
        yield f"{before.model} is not asked in the shadow any more ({before.share()})", "tightens"
    elif after is not None and (before is None or before.model != after.model):
        instead = f" instead of {before.model}" if before is not None else ""
        yield f"{after.model} is asked in the shadow, too{instead}: {after.share()}", "loosens"
    elif before is not None and after is not None:
        more = after.percent > before.percent
        effect: Effect | None = None if before.percent == after.percent else "loosens" if more else "tightens"
        yield f"{after.model} in the shadow of {after.share()}, before {before.share()}", effect

"""The ledger's tables, one script a schema number; a script that has shipped is never changed."""

from __future__ import annotations

_FIRST_TAGS = "team TEXT, feature TEXT, workflow TEXT, run_id TEXT, customer TEXT, agent TEXT, environment TEXT"

_TAGS = f"{_FIRST_TAGS}, cost_centre TEXT"

_REQUEST_FIGURES = """
  at_us INTEGER NOT NULL, kind TEXT NOT NULL, model_asked TEXT, model_served TEXT,
  task TEXT, rule TEXT, strategy TEXT, bar REAL, policy_version TEXT, artifact_version TEXT,
  outcome TEXT NOT NULL, error TEXT, cache TEXT NOT NULL, cache_key TEXT, cost_pusd INTEGER, attempts INTEGER NOT NULL,
  latency_s REAL NOT NULL"""

METERS = (
    "input_tokens", "output_tokens", "cached_input_tokens", "cache_write_tokens", "cache_write_1h_tokens",
    "audio_input_tokens", "image_input_tokens", "reasoning_tokens", "audio_output_tokens", "image_output_tokens",
)  # fmt: skip
"""Columns of token meters, of attempts and of what is rolled up."""

_OLD_TAGS = "team, feature, workflow, run_id, customer, agent, environment, tags"
_OLD_REQUEST = (
    "at_us, kind, model_asked, model_served, task, rule, strategy, bar, policy_version, artifact_version, outcome, "
    f"error, cache, cache_key, cost_pusd, attempts, latency_s, decision, {_OLD_TAGS}"
)
_OLD_ATTEMPT = (
    "request_id, number, at_us, model, call, outcome, error, model_version, latency_s, cost_pusd, input_tokens, "
    f"output_tokens, cached_input_tokens, reasoning_tokens, usage_source, {_OLD_TAGS}"
)
CUBE_NAMES = (
    "team", "feature", "workflow", "agent", "environment", "cost_centre", "customer", "task", "model", "call",
)  # fmt: skip
"""Columns that rows are summed by."""
COUNTS = (
    "requests", "errors", "hits", "failed", "calls", "unpriced", "cost_uusd", "rest_pusd", *METERS, "latency_us",
)  # fmt: skip
"""What is summed. SQLite's sums are 64-bit: in pico-dollars they would end at 9 million USD, so micro-dollars and the
rest go apart."""


def _append_only(*tables: str) -> str:
    return "".join(
        f"""
CREATE TRIGGER {table}_keep_{verb.lower()} BEFORE {verb} ON {table}
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

"""
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


MIGRATIONS = (
    f"""
CREATE TABLE requests (
  id TEXT PRIMARY KEY, at_us INTEGER NOT NULL, kind TEXT NOT NULL, model_asked TEXT, model_served TEXT,
  task TEXT, rule TEXT, strategy TEXT, bar REAL, policy_version TEXT, artifact_version TEXT,
  outcome TEXT NOT NULL, error TEXT, cache TEXT NOT NULL, cache_key TEXT, cost_pusd INTEGER, attempts INTEGER NOT NULL,
  latency_s REAL NOT NULL, decision TEXT, {_FIRST_TAGS}, tags TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX requests_at ON requests (at_us);

CREATE TABLE attempts (
  request_id TEXT NOT NULL, number INTEGER NOT NULL, at_us INTEGER NOT NULL, model TEXT NOT NULL, call TEXT NOT NULL,
  outcome TEXT NOT NULL, error TEXT, model_version TEXT, latency_s REAL NOT NULL, cost_pusd INTEGER,
  input_tokens INTEGER, output_tokens INTEGER, cached_input_tokens INTEGER, reasoning_tokens INTEGER, usage_source TEXT,
  {_FIRST_TAGS}, tags TEXT NOT NULL, PRIMARY KEY (request_id, number)
) WITHOUT ROWID;

CREATE INDEX attempts_at ON attempts (at_us);

CREATE TABLE feedback (decision_id TEXT NOT NULL, score REAL NOT NULL, at_us INTEGER NOT NULL);

CREATE TABLE outcomes (run_id TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, at_us INTEGER NOT NULL);
"""
    + _append_only("requests", "attempts", "feedback", "outcomes"),
    """
CREATE INDEX feedback_decision ON feedback (decision_id);

CREATE TABLE acknowledgements (
  task TEXT NOT NULL, feedback_row INTEGER NOT NULL, note TEXT NOT NULL, at_us INTEGER NOT NULL
);
"""
    + _append_only("acknowledgements"),
    # Rows get a number in the order in which they were written: what is rolled up, chained and exported goes by it.
    f"""
ALTER TABLE requests RENAME TO old_requests;

ALTER TABLE attempts RENAME TO old_attempts;

DROP INDEX requests_at;

DROP INDEX attempts_at;

CREATE TABLE requests (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, {_REQUEST_FIGURES}, {_TAGS}, tags TEXT NOT NULL,
  decision TEXT
);

CREATE TABLE attempts (
  seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL, number INTEGER NOT NULL, at_us INTEGER NOT NULL,
  model TEXT NOT NULL, call TEXT NOT NULL, outcome TEXT NOT NULL, error TEXT, model_version TEXT,
  latency_s REAL NOT NULL, cost_pusd INTEGER, held_pusd INTEGER, price_id TEXT, service_tier TEXT,
  {", ".join(f"{name} INTEGER" for name in METERS)}, input_characters INTEGER, usage_source TEXT,
  task TEXT, role TEXT, {_TAGS}, tags TEXT NOT NULL, UNIQUE (request_id, number)
);

INSERT INTO requests (id, {_OLD_REQUEST}) SELECT id, {_OLD_REQUEST} FROM old_requests ORDER BY at_us, id;

INSERT INTO attempts (task, {_OLD_ATTEMPT})
SELECT (SELECT task FROM requests WHERE id = request_id), {_OLD_ATTEMPT} FROM old_attempts
ORDER BY at_us, request_id, number;

DROP TABLE old_requests;

DROP TABLE old_attempts;

CREATE INDEX requests_at ON requests (at_us);

CREATE INDEX requests_apart ON requests (at_us) WHERE attempts = 0 OR outcome = 'error';

CREATE INDEX attempts_at ON attempts (at_us);

CREATE TABLE prices (id TEXT PRIMARY KEY, content TEXT NOT NULL, at_us INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE owners (id TEXT PRIMARY KEY, expires_us INTEGER NOT NULL, process TEXT) WITHOUT ROWID;

CREATE TABLE holds (
  request_id TEXT NOT NULL, number INTEGER NOT NULL, owner TEXT NOT NULL, at_us INTEGER NOT NULL,
  amount_pusd INTEGER NOT NULL, legs TEXT NOT NULL, is_live INTEGER NOT NULL DEFAULT 1,
  PRIMARY KEY (request_id, number)
) WITHOUT ROWID;

CREATE INDEX holds_owner ON holds (owner);

CREATE TABLE balances (
  account TEXT NOT NULL, bucket INTEGER NOT NULL, settled INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0), PRIMARY KEY (account, bucket)
) WITHOUT ROWID;

CREATE TABLE budget_scopes (pattern TEXT PRIMARY KEY, since_us INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, request_id TEXT NOT NULL, number INTEGER NOT NULL,
  kind TEXT NOT NULL, free_pusd INTEGER NOT NULL, held_pusd INTEGER NOT NULL, settled_pusd INTEGER NOT NULL,
  CHECK (free_pusd + held_pusd + settled_pusd = 0)
);

CREATE TABLE approvals (
  budget TEXT NOT NULL, account TEXT NOT NULL, amount INTEGER NOT NULL, until_us INTEGER NOT NULL, by TEXT NOT NULL,
  note TEXT NOT NULL, at_us INTEGER NOT NULL
);

CREATE TABLE crossings (
  account TEXT NOT NULL, bucket INTEGER NOT NULL, share REAL NOT NULL, action TEXT NOT NULL, budget TEXT NOT NULL,
  scope TEXT NOT NULL, unit TEXT NOT NULL, quota INTEGER NOT NULL, used INTEGER NOT NULL, at_us INTEGER NOT NULL,
  PRIMARY KEY (account, bucket, share)
) WITHOUT ROWID;

CREATE TABLE rolled_to (name TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE cell_keys (
  id INTEGER PRIMARY KEY, cube INTEGER NOT NULL, {", ".join(f"{name} TEXT NOT NULL DEFAULT ''" for name in CUBE_NAMES)},
  UNIQUE (cube, {", ".join(CUBE_NAMES)})
);

CREATE TABLE cells (
  level INTEGER NOT NULL, at INTEGER NOT NULL, key INTEGER NOT NULL,
  {", ".join(f"{name} INTEGER NOT NULL" for name in COUNTS)}, PRIMARY KEY (level, at, key)
) WITHOUT ROWID;
"""
    + _append_only("requests", "attempts", "entries", "approvals", "prices"),
    # What the run breaker knows of each run: derived, and deleted when it is old.
    """
CREATE TABLE runs (
  workflow TEXT NOT NULL, run_id TEXT NOT NULL, started_us INTEGER NOT NULL, seen_us INTEGER NOT NULL, state TEXT,
  cycle REAL NOT NULL, repeats REAL NOT NULL, calls REAL NOT NULL, cost_usd REAL NOT NULL,
  usd_per_minute REAL NOT NULL, growth REAL NOT NULL,
  stopped_us INTEGER, released_us INTEGER, mode TEXT, trip TEXT, PRIMARY KEY (workflow, run_id)
) WITHOUT ROWID;

CREATE INDEX runs_seen ON runs (workflow, seen_us);

CREATE INDEX runs_stopped ON runs (stopped_us) WHERE stopped_us IS NOT NULL;
""",
    # Charges that no call makes, closed months, and where their rows went.
    f"""
CREATE TABLE charges (
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, at_us INTEGER NOT NULL, end_us INTEGER NOT NULL,
  vendor TEXT NOT NULL, product TEXT NOT NULL, category TEXT NOT NULL, quantity TEXT NOT NULL, unit TEXT NOT NULL,
  unit_price TEXT NOT NULL, cost_pusd INTEGER NOT NULL, source TEXT NOT NULL, {_TAGS}, tags TEXT NOT NULL
);

CREATE INDEX charges_at ON charges (at_us);

CREATE TABLE closings (
  number INTEGER PRIMARY KEY, month TEXT NOT NULL UNIQUE, closed_us INTEGER NOT NULL, content TEXT NOT NULL,
  sha256 TEXT NOT NULL
);

CREATE TABLE archives (
  month TEXT NOT NULL, part TEXT NOT NULL, file TEXT NOT NULL, rows INTEGER NOT NULL, sha256 TEXT NOT NULL,
  at_us INTEGER NOT NULL, PRIMARY KEY (month, part)
) WITHOUT ROWID;
"""
    + _append_only("charges", "closings", "archives"),
    # What was noticed, and who was told.
    """
CREATE TABLE alerts (
  seq INTEGER PRIMARY KEY, key TEXT NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, details TEXT NOT NULL,
  opened_us INTEGER NOT NULL, seen_us INTEGER NOT NULL, closed_us INTEGER
);

CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE closed_us IS NULL;

CREATE INDEX alerts_key ON alerts (key);

CREATE TABLE messages (
  alert INTEGER NOT NULL, is_over INTEGER NOT NULL, sink TEXT NOT NULL, at_us INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0, next_us INTEGER NOT NULL, done_us INTEGER, error TEXT,
  PRIMARY KEY (alert, is_over, sink)
) WITHOUT ROWID;

CREATE INDEX messages_due ON messages (next_us) WHERE done_us IS NULL;
""",
    # How models on trial fare.
    """
CREATE TABLE canaries (
  name TEXT PRIMARY KEY, started_us INTEGER NOT NULL, errors TEXT, quality TEXT, stopped_us INTEGER, why TEXT
) WITHOUT ROWID;
""",
    # What models in the shadow answered, and which requests they were not asked.
    """
ALTER TABLE canaries ADD COLUMN latency TEXT;

CREATE TABLE shadows (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, shadowed TEXT NOT NULL, at_us INTEGER NOT NULL, is_same INTEGER, error TEXT,
  cost_pusd INTEGER, served_pusd INTEGER, latency_s REAL NOT NULL, served_s REAL
) WITHOUT ROWID;

CREATE INDEX shadows_name ON shadows (name);

CREATE TABLE unshadowed (
  name TEXT NOT NULL, why TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (name, why)
) WITHOUT ROWID;
""",
    # Which versions of policies were served, and the text of their files.
    """
CREATE TABLE policy_texts (sha256 TEXT PRIMARY KEY, content BLOB NOT NULL);

CREATE TABLE policy_versions (
  seq INTEGER PRIMARY KEY, version TEXT NOT NULL, environment TEXT, path TEXT NOT NULL, files TEXT NOT NULL,
  artifact_version TEXT, evidence TEXT NOT NULL, rules INTEGER, models INTEGER,
  first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, loads INTEGER NOT NULL, last_load INTEGER NOT NULL
);

CREATE INDEX policy_versions_path ON policy_versions (path, version);
"""
    + _append_only("policy_texts"),
)

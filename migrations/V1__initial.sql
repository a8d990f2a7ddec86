-- Times are unix seconds (UTC), days are `YYYY-MM-DD` (UTC), amounts are minor units.

-- A consumer. The id is the APIM user id, chosen here.
CREATE TABLE accounts (
    user_id         TEXT PRIMARY KEY,
    email           TEXT NOT NULL UNIQUE,      -- lower case
    password_hash   TEXT NOT NULL,             -- argon2id, PHC string
    first_name      TEXT NOT NULL,
    last_name       TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    apim_created_at INTEGER                    -- null until APIM has confirmed the user
) STRICT;

CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY,               -- SHA-256 of the cookie's value
    user_id    TEXT NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- A delegation signature never expires, so its salt is remembered for good.
CREATE TABLE used_salts (
    salt_hash BLOB PRIMARY KEY,                -- SHA-256
    used_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What a signed delegation request asked for, from its arrival to its end.
CREATE TABLE delegations (
    token_hash BLOB PRIMARY KEY,               -- SHA-256 of the cookie's value
    operation  TEXT NOT NULL,
    user_id    TEXT,
    product_id TEXT,
    return_url TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
CREATE INDEX delegations_by_expiry ON delegations (expires_at);

-- An account may have several Stripe customers: one never carries two subscriptions on one meter.
CREATE TABLE customers (
    customer_id TEXT PRIMARY KEY,
    user_id     TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX customers_by_user ON customers (user_id);

-- A purchase, from the consumer's intent to the subscription.
CREATE TABLE checkouts (
    checkout_id      TEXT PRIMARY KEY,
    user_id          TEXT NOT NULL REFERENCES accounts (user_id) ON DELETE CASCADE,
    product_id       TEXT NOT NULL,
    name             TEXT NOT NULL,
    customer_id      TEXT,
    meter_event_name TEXT,                     -- null where the price is not metered
    state            TEXT NOT NULL CHECK (state IN ('planned', 'open', 'completed', 'expired')),
    session_id       TEXT UNIQUE,
    session_url      TEXT,
    return_url       TEXT,
    created_at       INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX checkouts_by_user ON checkouts (user_id);

-- A subscription as last seen at Stripe, and the APIM state that follows from it. Its id is that
-- of the APIM subscription too: Stripe's `sub_…`, or `free_…` where Stripe has no part.
CREATE TABLE subscriptions (
    subscription_id  TEXT PRIMARY KEY,
    user_id          TEXT NOT NULL,
    product_id       TEXT NOT NULL,
    name             TEXT NOT NULL,
    checkout_id      TEXT,
    customer_id      TEXT,
    stripe_status    TEXT,                     -- null for a free subscription
    meter_event_name TEXT,                     -- null where the price is not metered
    meter_id         TEXT,
    started_at       INTEGER NOT NULL,
    period_start     INTEGER,
    period_end       INTEGER,
    cancel_at        INTEGER,
    ended_at         INTEGER,
    past_due_since   INTEGER,
    wanted_state     TEXT NOT NULL CHECK (wanted_state IN ('none', 'active', 'suspended', 'cancelled')),
    reason           TEXT NOT NULL,
    applied_state    TEXT CHECK (applied_state IN ('none', 'active', 'suspended', 'cancelled')),
    recheck_at       INTEGER,                  -- when time alone may change what is wanted
    attempts         INTEGER NOT NULL DEFAULT 0,
    problem          TEXT,                     -- why the last attempt to apply failed
    updated_at       INTEGER NOT NULL
) STRICT;
CREATE INDEX subscriptions_by_user ON subscriptions (user_id);
CREATE INDEX subscriptions_by_customer ON subscriptions (customer_id, meter_event_name);
CREATE INDEX subscriptions_by_checkout ON subscriptions (checkout_id);
CREATE INDEX subscriptions_by_recheck ON subscriptions (recheck_at) WHERE recheck_at IS NOT NULL;
CREATE INDEX subscriptions_in_trouble ON subscriptions (problem) WHERE problem IS NOT NULL;

-- Webhook events: kept before they are answered, applied later.
CREATE TABLE inbox (
    sequence        INTEGER PRIMARY KEY,       -- in the order of arrival
    event_id        TEXT NOT NULL UNIQUE,
    event_type      TEXT NOT NULL,
    object_id       TEXT NOT NULL,
    received_at     INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('waiting', 'applied', 'ignored', 'failed')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at INTEGER NOT NULL,
    outcome         TEXT,
    settled_at      INTEGER
) STRICT;
CREATE INDEX inbox_by_state ON inbox (state, next_attempt_at);
CREATE INDEX inbox_by_end ON inbox (settled_at) WHERE settled_at IS NOT NULL;

-- The events' raw bodies, apart from what changes as an event is worked on.
CREATE TABLE inbox_payloads (
    sequence INTEGER PRIMARY KEY REFERENCES inbox (sequence) ON DELETE CASCADE,
    payload  BLOB NOT NULL
) STRICT;

-- Calls per subscription and UTC day, as last read from APIM.
CREATE TABLE usage_days (
    subscription_id TEXT NOT NULL,
    day             TEXT NOT NULL,
    success         INTEGER NOT NULL CHECK (success >= 0),
    blocked         INTEGER NOT NULL CHECK (blocked >= 0),
    failed          INTEGER NOT NULL CHECK (failed >= 0),
    other           INTEGER NOT NULL CHECK (other >= 0),
    read_at         INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, day)
) STRICT, WITHOUT ROWID;

-- Which days were read completely, and when.
CREATE TABLE collected_days (
    day          TEXT PRIMARY KEY,
    read_at      INTEGER NOT NULL,
    rows         INTEGER NOT NULL,
    unknown_rows INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Meter events: the intent is written before the call, its outcome after it.
CREATE TABLE meter_pushes (
    identifier       TEXT PRIMARY KEY,
    subscription_id  TEXT NOT NULL,
    customer_id      TEXT NOT NULL,
    meter_event_name TEXT NOT NULL,
    period_start     INTEGER NOT NULL,
    period_end       INTEGER NOT NULL,
    calls            INTEGER NOT NULL CHECK (calls >= 0),
    event_at         INTEGER NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('planned', 'delivered', 'refused')),
    planned_at       INTEGER NOT NULL,
    settled_at       INTEGER,
    problem          TEXT,
    UNIQUE (subscription_id, period_start, event_at)
) STRICT;

-- Invoices of metered periods, from the claimed draft to the end.
CREATE TABLE invoices (
    invoice_id         TEXT PRIMARY KEY,
    subscription_id    TEXT NOT NULL,
    period_start       INTEGER NOT NULL,
    period_end         INTEGER NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('claiming', 'settling', 'held', 'finalized')),
    settles_at         INTEGER NOT NULL,
    backstop_at        INTEGER NOT NULL,
    calls              INTEGER,                -- ours
    amount             INTEGER,                -- ours
    stripe_calls       INTEGER,
    stripe_amount      INTEGER,
    currency           TEXT,
    hosted_invoice_url TEXT,
    problem            TEXT,
    updated_at         INTEGER NOT NULL
) STRICT;
CREATE INDEX invoices_by_subscription ON invoices (subscription_id, period_start);
CREATE INDEX invoices_unfinished ON invoices (settles_at) WHERE state <> 'finalized';

CREATE TABLE job_runs (
    run_id      INTEGER PRIMARY KEY,
    job         TEXT NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    complete    INTEGER,                       -- 1: everything was done; 0: see the summary
    summary     TEXT NOT NULL
) STRICT;
CREATE INDEX job_runs_by_start ON job_runs (started_at);
CREATE INDEX job_runs_by_job ON job_runs (job, started_at);

-- What the set-up has to remember, such as the webhook endpoint's secret.
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

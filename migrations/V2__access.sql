-- What a failed payment leaves behind, and money that went back or is disputed.

-- Whether the subscription has been unpaid and the drafts of that time are still to be finalized.
ALTER TABLE subscriptions
    ADD COLUMN drafts_left INTEGER NOT NULL DEFAULT 0 CHECK (drafts_left IN (0, 1));

-- A draft can wait for its subscription to be collected again. The CHECK makes the table anew.
DROP INDEX invoices_by_subscription;
DROP INDEX invoices_unfinished;
ALTER TABLE invoices RENAME TO old_invoices;
CREATE TABLE invoices (
    invoice_id         TEXT PRIMARY KEY,
    subscription_id    TEXT NOT NULL,
    period_start       INTEGER NOT NULL,
    period_end         INTEGER NOT NULL,
    state              TEXT NOT NULL
                       CHECK (state IN ('claiming', 'settling', 'waiting', 'held', 'finalized')),
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
INSERT INTO invoices SELECT * FROM old_invoices;
DROP TABLE old_invoices;
CREATE INDEX invoices_by_subscription ON invoices (subscription_id, period_start);
CREATE INDEX invoices_unfinished ON invoices (settles_at) WHERE state <> 'finalized';

-- Refunds and disputes of the payments for subscriptions, as last seen at Stripe.
CREATE TABLE reversals (
    reversal_id     TEXT PRIMARY KEY,          -- Stripe's re_… or du_…
    subscription_id TEXT NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('refund', 'dispute')),
    status          TEXT NOT NULL,             -- Stripe's word
    amount          INTEGER NOT NULL,
    currency        TEXT NOT NULL,
    made_at         INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX reversals_by_subscription ON reversals (subscription_id, made_at);
CREATE INDEX reversals_by_time ON reversals (made_at);

-- Where APIM, the store, Stripe's meter and the invoice of a billing period did not agree when they
-- were last compared.
CREATE TABLE disagreements (
    subscription_id TEXT NOT NULL,
    period_start    INTEGER NOT NULL,
    period_end      INTEGER NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('usage', 'meter', 'invoice')),
    detail          TEXT NOT NULL,
    repair          TEXT NOT NULL,             -- what puts it right, in a sentence
    found_at        INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, period_start, kind)
) STRICT, WITHOUT ROWID;
CREATE INDEX disagreements_by_time ON disagreements (found_at);

-- What differs in figures alone. A row of an earlier version has none until its period is compared
-- again.
ALTER TABLE disagreements ADD COLUMN figures TEXT NOT NULL DEFAULT '';

-- Disagreements that a person has put right. One counts again when its figures are others.
CREATE TABLE settlements (
    subscription_id TEXT NOT NULL,
    period_start    INTEGER NOT NULL,
    kind            TEXT NOT NULL CHECK (kind IN ('usage', 'meter', 'invoice')),
    figures         TEXT NOT NULL,
    note            TEXT NOT NULL,             -- what was done; may be empty
    operator        TEXT NOT NULL,
    settled_at      INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, period_start, kind)
) STRICT, WITHOUT ROWID;

-- Periods that are over and were compared, or could not be, with the invoice that they had then.
CREATE TABLE comparisons (
    subscription_id TEXT NOT NULL,
    period_start    INTEGER NOT NULL,
    invoice_id      TEXT NOT NULL,             -- empty where none was known
    agrees          INTEGER NOT NULL,
    compared_at     INTEGER NOT NULL,
    PRIMARY KEY (subscription_id, period_start, invoice_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX comparisons_by_time ON comparisons (compared_at);

-- What stands behind an invoice, as it was known when the invoice was made final. Later readings of
-- the same days are kept in usage_days and do not touch it.
CREATE TABLE invoice_evidence (
    invoice_id TEXT PRIMARY KEY,
    classes    TEXT NOT NULL,                  -- those that are billable, one word each
    kept_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Every day of the invoice's period.
CREATE TABLE invoice_days (
    invoice_id TEXT NOT NULL,
    day        TEXT NOT NULL,
    success    INTEGER NOT NULL CHECK (success >= 0),
    blocked    INTEGER NOT NULL CHECK (blocked >= 0),
    failed     INTEGER NOT NULL CHECK (failed >= 0),
    other      INTEGER NOT NULL CHECK (other >= 0),
    billable   INTEGER NOT NULL CHECK (billable >= 0),
    read_at    INTEGER,                        -- null where the day was never read completely
    PRIMARY KEY (invoice_id, day)
) STRICT, WITHOUT ROWID;

-- The lines of the final invoice, as Stripe has them.
CREATE TABLE invoice_lines (
    invoice_id  TEXT NOT NULL,
    position    INTEGER NOT NULL,
    description TEXT NOT NULL,
    quantity    TEXT,                          -- a decimal
    amount      INTEGER NOT NULL,
    of_usage    INTEGER NOT NULL CHECK (of_usage IN (0, 1)),
    PRIMARY KEY (invoice_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX invoices_final ON invoices (updated_at) WHERE state = 'finalized';

-- What an operator wants done with an invoice that is held, until it is done.
CREATE TABLE invoice_orders (
    invoice_id TEXT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('finalize', 'report')),
    operator   TEXT NOT NULL,
    given_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

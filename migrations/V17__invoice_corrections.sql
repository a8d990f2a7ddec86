-- What a final invoice billed too little or too much, and the customer's next one makes up for.
CREATE TABLE invoice_corrections (
    correction_id TEXT PRIMARY KEY,
    invoice_id    TEXT NOT NULL,
    amount        INTEGER NOT NULL,            -- minor units; negative where it is given back
    planned_at    INTEGER NOT NULL,
    change_id     TEXT                         -- Stripe's; null until it is known to have been made
) STRICT;
CREATE INDEX invoice_corrections_by_invoice ON invoice_corrections (invoice_id);

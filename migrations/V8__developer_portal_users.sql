-- Whose the APIM user of an account is. One that the developer portal made is never changed or
-- deleted from here; its account has no password.
ALTER TABLE accounts ADD COLUMN kept_by TEXT NOT NULL DEFAULT 'us'
    CHECK (kept_by IN ('us', 'developer_portal'));

-- The purchase that a signed request to subscribe has led to. The browser that brought the request
-- may see how it stands, without showing who it is.
ALTER TABLE delegations ADD COLUMN checkout_id TEXT;

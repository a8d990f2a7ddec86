//! What the set-up has to remember.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// The signing secret of the webhook endpoint that `sync apply` created.
pub const WEBHOOK_SECRET: &str = "webhook_secret";

pub fn get(db: &Connection, name: &str) -> Result<Option<String>, StoreError> {
    let mut statement = db.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
    Ok(statement.query_row([name], |row| row.get(0)).optional()?)
}

pub fn set(db: &Connection, name: &str, value: &str) -> Result<(), StoreError> {
    let mut statement = db.prepare_cached(
        "INSERT INTO settings (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )?;
    statement.execute([name, value])?;
    Ok(())
}

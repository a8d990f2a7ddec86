//! Single values that have to be remembered.

use rusqlite::{Connection, OptionalExtension};

use super::StoreError;

/// The signing secret of the webhook endpoint that `sync apply` created.
pub const WEBHOOK_SECRET: &str = "webhook_secret";

/// The subscription with which the next run of reports begins: the first that the last one left out.
pub const REPORT_FROM: &str = "report_from";

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

pub fn remove(db: &Connection, name: &str) -> Result<(), StoreError> {
    db.prepare_cached("DELETE FROM settings WHERE name = ?1")?
        .execute([name])?;
    Ok(())
}

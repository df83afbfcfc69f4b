//! `--set key=value`: what is said in place of a recipe's own words. It checks no value.

use crate::error::{Error, Result};

/// Puts `key=value` into a recipe; dots lead into tables.
pub(super) fn put(table: &mut toml::Table, set: &str) -> Result<()> {
    let wrong = || Error::request("--set", format!("`{set}` is not KEY=VALUE"));
    let (key, raw) = set.split_once('=').ok_or_else(wrong)?;
    let value = match toml::from_str::<toml::Table>(&format!("value = {raw}")) {
        Ok(mut parsed) => parsed.remove("value").ok_or_else(wrong)?,
        Err(_) => toml::Value::String(raw.trim().into()),
    };
    let mut names: Vec<&str> = key.trim().split('.').collect();
    let last = names.pop().filter(|name| !name.is_empty()).ok_or_else(wrong)?;
    let mut at = table;
    for name in names {
        let entry = at.entry(name).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = entry.as_table_mut().ok_or_else(wrong)?;
    }
    at.insert(last.into(), value);
    Ok(())
}

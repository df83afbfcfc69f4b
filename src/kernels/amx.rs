//! AMX.
pub(super) fn usable() -> bool {
    false
}

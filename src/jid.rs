//! Not written yet.
/// Placeholder.
pub fn prepare_domainpart(s: &str) -> Result<std::borrow::Cow<'_, str>, ()> {
    if s.is_empty() || s.contains([' ', '@', '/']) { Err(()) } else { Ok(s.to_lowercase().into()) }
}

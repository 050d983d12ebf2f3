//! Ids and keys: 1 to 255 characters, no control characters (contract, section 1).

pub const MAX_ID_CHARS: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdError {
    Empty,
    TooLong,
    ControlCharacter,
}

pub fn check_id(id: &str) -> Result<(), IdError> {
    if id.is_empty() {
        return Err(IdError::Empty);
    }
    // A text of up to 255 bytes cannot have more than 255 characters: the usual id is not counted.
    if id.len() > MAX_ID_CHARS && id.chars().count() > MAX_ID_CHARS {
        return Err(IdError::TooLong);
    }
    if id.chars().any(char::is_control) {
        return Err(IdError::ControlCharacter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_characters_not_bytes() {
        assert_eq!(check_id("workspace-example-com"), Ok(()));
        assert_eq!(check_id(&"ü".repeat(255)), Ok(()));
        assert_eq!(check_id(&"ü".repeat(256)), Err(IdError::TooLong));
        assert_eq!(check_id(""), Err(IdError::Empty));
        assert_eq!(check_id("a\u{1}b"), Err(IdError::ControlCharacter));
        assert_eq!(check_id("a\u{85}b"), Err(IdError::ControlCharacter));
    }
}

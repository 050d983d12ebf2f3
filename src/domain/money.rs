//! Money: which texts look like an ISO 4217 code, and how many minor digits a currency has.

pub fn currency_is_well_formed(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())
}

/// Decimal places of a currency, from ISO 4217's list of minor units; 2 where it names none.
pub fn minor_digits(code: &str) -> u32 {
    match code {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "UYI" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        "CLF" | "UYW" => 4,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_shapes_and_minor_units() {
        assert!(currency_is_well_formed("USD"));
        assert!(!currency_is_well_formed("usd"));
        assert!(!currency_is_well_formed("EURO"));
        assert_eq!((minor_digits("EUR"), minor_digits("JPY"), minor_digits("KWD")), (2, 0, 3));
    }
}

//! PostgreSQL's numeric read and made in place: through its text, the dozen figures of a pool took a tenth of a usage's time.
//!
//! The layout is that of `NumericData` (src/backend/utils/adt/numeric.c), the same on disk since version 9.1 and so fixed
//! by pg_upgrade: a header of 16 bits (short: sign, scale and weight in it; long: sign and scale, then a weight of 16
//! bits), then the digits to the base 10,000, the first one times 10,000 to the power of the weight.

use credit_pools_domain::{Amount, MAX_SCALE};
use pgrx::pg_sys;

const SIGN_MASK: u16 = 0xC000;
const LONG_POSITIVE: u16 = 0x0000;
const LONG_NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
const SHORT_WEIGHT: u16 = 0x003F;
const SHORT_SCALE_SHIFT: u32 = 7;

/// `None` for what is no amount, or not worth the trouble: the text tells then.
///
/// # Safety
/// The datum is a numeric.
pub unsafe fn decode(datum: pg_sys::Datum) -> Option<Amount> {
    // SAFETY: a numeric is a varlena; its bytes live as long as the datum, or as the copy that was made to detoast it.
    let bytes = unsafe {
        let varlena = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
        std::slice::from_raw_parts(
            pgrx::varlena::vardata_any(varlena).cast::<u8>(),
            pgrx::varlena::varsize_any_exhdr(varlena),
        )
    };
    read(bytes)
}

fn read(bytes: &[u8]) -> Option<Amount> {
    let mut words = bytes.chunks_exact(2).map(|word| u16::from_ne_bytes([word[0], word[1]]));
    let header = words.next()?;
    let (negative, weight) = match header & SIGN_MASK {
        SHORT => {
            let weight = i32::from(header & SHORT_WEIGHT);
            let weight = if header & SHORT_WEIGHT_NEGATIVE == 0 { weight } else { weight - 64 };
            (header & SHORT_NEGATIVE != 0, weight)
        }
        sign @ (LONG_POSITIVE | LONG_NEGATIVE) => {
            (sign == LONG_NEGATIVE, i32::from(i16::from_ne_bytes(words.next()?.to_ne_bytes())))
        }
        _ => return None, // NaN and the infinities
    };
    let mut raw: i128 = 0;
    // The last digit's unit is a power of ten of an amount's own unit, 10^-18.
    let mut power = i32::try_from(MAX_SCALE).ok()? + 4 * weight;
    for digit in words {
        let digit = i128::from(digit);
        let part = match u32::try_from(power) {
            Ok(power) => digit.checked_mul(10_i128.checked_pow(power)?)?,
            Err(_) => {
                let below = 10_i128.checked_pow(power.unsigned_abs())?;
                if digit % below != 0 {
                    return None;
                }
                digit / below
            }
        };
        raw = raw.checked_add(part)?;
        power -= 4;
    }
    Some(Amount::from_raw(if negative { -raw } else { raw }))
}

/// The numeric of an amount, in the current memory context; byte for byte what `numeric_in` makes of its text. `None` for what
/// is beyond all sums.
pub fn encode(amount: Amount) -> Option<pg_sys::Datum> {
    let groups = amount.groups()?;
    // Weights are from -5 to 4 and scales up to 18: the short header has room for them.
    let sign = if amount.is_negative() { SHORT_NEGATIVE } else { 0 };
    let weight = if groups.weight < 0 { SHORT_WEIGHT_NEGATIVE } else { 0 } | (groups.weight as u16 & SHORT_WEIGHT);
    let header = SHORT | sign | (groups.scale as u16) << SHORT_SCALE_SHIFT | weight;
    let words = std::iter::once(&header).chain(groups.digits());
    let size = pg_sys::VARHDRSZ + 2 * (1 + groups.digits().len());
    // SAFETY: palloc gives that many bytes, aligned for any type, or raises; the words behind the length fill them.
    unsafe {
        let varlena = pg_sys::palloc(size);
        pgrx::varlena::set_varsize_4b(varlena.cast(), size as i32);
        let first: *mut u16 = varlena.cast::<u8>().add(pg_sys::VARHDRSZ).cast();
        for (place, word) in words.enumerate() {
            first.add(place).write(*word);
        }
        Some(pg_sys::Datum::from(varlena))
    }
}

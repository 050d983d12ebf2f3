//! Rates as formulas: arithmetic over the value of a usage and its dimensions.
//!
//! ```text
//! formula    = sum ;
//! sum        = product { ( "+" | "-" ) product } ;
//! product    = factor { ( "*" | "/" ) factor } ;
//! factor     = "-" factor | primary ;
//! primary    = number | "value" | dimension | function | "(" sum ")" ;
//! function   = ( "min" | "max" ) "(" sum "," sum { "," sum } ")"
//!            | ( "ceil" | "floor" ) "(" sum ")"
//!            | "round" "(" sum [ "," places ] ")"              (* places: a number, 0 to 18 *)
//!            | "if" "(" condition "," sum "," sum ")" ;
//! condition  = all { "or" all } ;
//! all        = negation { "and" negation } ;
//! negation   = "not" negation | comparison | "(" condition ")" ;
//! comparison = sum ( "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=" ) sum ;
//! number     = digits [ "." digits ] | "." digits ;            (* at most 18 digits on either side *)
//! dimension  = name | '"' character { character } '"' ;  (* any, and '"' as '""' *)
//! name       = ( letter | "_" ) { letter | digit | "_" } ;     (* ASCII, and none of the words above *)
//! ```
//!
//! Words are lower case and names are case-sensitive. White space may stand between any two of these. A
//! dimension called like a word, or with other characters, is written in double quotes: `"min"`, `"gpu-hours"`.
//!
//! The calculation is exact (see `Ratio` for its bounds) and only the result is rounded, half away from zero, to
//! the scale of the credit type. `if` calculates only the branch that it takes; `and` and `or` stop at the
//! first condition that decides. So a dimension that is not asked for may be missing. A cost that is below zero
//! after it was rounded is an error.

mod parser;
mod ratio;

use std::cmp::Ordering;
use std::fmt;

use crate::{Amount, MAX_SCALE};
use parser::Parser;
use ratio::Ratio;

/// How long the text of a formula can be.
pub const MAX_FORMULA_CHARS: usize = 2_000;
/// How deeply parentheses, functions, minus signs and `not` can be nested: each level takes stack.
pub const MAX_FORMULA_DEPTH: usize = 100;

/// A formula that was read. It is kept as a flat list of operations on a stack, so that neither calculating nor
/// dropping it goes deeper for a formula that is nested.
#[derive(Clone, Debug)]
pub struct Formula {
    text: String,
    code: Vec<Operation>,
    dimensions: Vec<String>,
}

/// Why a text is no formula, and at which character of it, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormulaError {
    pub position: usize,
    pub kind: FormulaErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormulaErrorKind {
    TooLong,
    TooDeep,
    TooManyDigits,
    Unexpected(String),
    UnexpectedEnd,
    OpenQuote,
    UnknownFunction(String),
    Arguments { function: &'static str, takes: &'static str, given: usize },
    Places,
    NotANumber,
    NotACondition,
}

/// Why a formula has no result for a usage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvalError {
    MissingDimension(String),
    /// The position of the `/`.
    DivisionByZero(usize),
    Negative(Amount),
    Overflow,
}

impl Formula {
    pub fn parse(text: &str) -> Result<Formula, FormulaError> {
        if text.chars().nth(MAX_FORMULA_CHARS).is_some() {
            return Err(FormulaError { position: MAX_FORMULA_CHARS + 1, kind: FormulaErrorKind::TooLong });
        }
        let (code, dimensions) = Parser::read(text)?;
        Ok(Formula { text: text.to_owned(), code, dimensions })
    }

    /// The cost of a usage. `lookup` has the usage's dimensions, and is asked once for each mention.
    pub fn eval(
        &self,
        value: Amount,
        lookup: impl FnMut(&str) -> Option<Amount>,
        scale: u32,
    ) -> Result<Amount, EvalError> {
        let cost = self.run(value, lookup)?.to_amount(scale).ok_or(EvalError::Overflow)?;
        if cost.is_negative() { Err(EvalError::Negative(cost)) } else { Ok(cost) }
    }

    fn run(&self, value: Amount, mut lookup: impl FnMut(&str) -> Option<Amount>) -> Result<Ratio, EvalError> {
        let mut stack: Vec<Ratio> = Vec::with_capacity(8);
        // Of the last comparison; every jump stands directly behind what it depends on.
        let mut holds = false;
        let mut next = 0;
        while let Some(operation) = self.code.get(next) {
            next += 1;
            let result = match operation {
                Operation::Constant(number) => Some(*number),
                Operation::Value => Some(value.into()),
                Operation::Dimension(index) => {
                    let name = &self.dimensions[*index];
                    Some(lookup(name).ok_or_else(|| EvalError::MissingDimension(name.clone()))?.into())
                }
                Operation::Negate => Some(pop(&mut stack).negated()),
                Operation::Ceil => Some(pop(&mut stack).ceil()),
                Operation::Floor => Some(pop(&mut stack).floor()),
                Operation::Round(places) => pop(&mut stack).round(*places),
                Operation::Arithmetic(operator, position) => {
                    let (right, left) = (pop(&mut stack), pop(&mut stack));
                    match operator {
                        Operator::Add => left.add(right),
                        Operator::Subtract => left.subtract(right),
                        Operator::Multiply => left.multiply(right),
                        Operator::Divide if right.is_zero() => return Err(EvalError::DivisionByZero(*position)),
                        Operator::Divide => left.divide(right),
                    }
                }
                Operation::Choose(wanted) => {
                    let (right, left) = (pop(&mut stack), pop(&mut stack));
                    right.compare(left).map(|sides| if sides == *wanted { right } else { left })
                }
                Operation::Compare(wanted) => {
                    let (right, left) = (pop(&mut stack), pop(&mut stack));
                    holds = wanted(left.compare(right).ok_or(EvalError::Overflow)?);
                    continue;
                }
                Operation::Not => {
                    holds = !holds;
                    continue;
                }
                Operation::Jump(condition, target) => {
                    if condition.is_none_or(|condition| condition == holds) {
                        next = *target;
                    }
                    continue;
                }
            };
            stack.push(result.ok_or(EvalError::Overflow)?);
        }
        Ok(pop(&mut stack))
    }

    /// The dimensions that it may ask for, each once, in the order of their first mention.
    pub fn dimensions(&self) -> &[String] {
        &self.dimensions
    }

    /// As it was given.
    pub fn as_text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            FormulaErrorKind::TooLong => write!(f, "more than {MAX_FORMULA_CHARS} characters")?,
            FormulaErrorKind::TooDeep => write!(f, "nested more than {MAX_FORMULA_DEPTH} levels deep")?,
            FormulaErrorKind::TooManyDigits => write!(f, "more than {MAX_SCALE} digits before or after the point")?,
            FormulaErrorKind::Unexpected(found) => write!(f, "unexpected {found:?}")?,
            FormulaErrorKind::UnexpectedEnd => write!(f, "unexpected end")?,
            FormulaErrorKind::OpenQuote => write!(f, "quoted name without an end")?,
            FormulaErrorKind::UnknownFunction(name) => write!(f, "unknown function {name:?}")?,
            FormulaErrorKind::Arguments { function, takes, given } => {
                write!(f, "{function} takes {takes}, not {given},")?
            }
            FormulaErrorKind::Places => write!(f, "the places of round must be a whole number from 0 to {MAX_SCALE},")?,
            FormulaErrorKind::NotANumber => write!(f, "condition where a number is needed,")?,
            FormulaErrorKind::NotACondition => write!(f, "number where a condition is needed,")?,
        }
        write!(f, " at character {}", self.position)
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvalError::MissingDimension(name) => write!(f, "the usage has no numeric dimension {name:?}"),
            EvalError::DivisionByZero(position) => write!(f, "division by zero at character {position}"),
            EvalError::Negative(cost) => write!(f, "the cost would be negative: {cost}"),
            EvalError::Overflow => f.write_str("the numbers become too large"),
        }
    }
}

/// Takes its operands from the stack and leaves its result there. Conditions leave theirs in a place of their own.
#[derive(Clone, Debug)]
enum Operation {
    Constant(Ratio),
    Value,
    /// Its index among the formula's dimensions.
    Dimension(usize),
    Negate,
    Ceil,
    Floor,
    Round(u32),
    /// With the character at which the operator stands.
    Arithmetic(Operator, usize),
    /// The second of two if it compares so to the first, else the first.
    Choose(Ordering),
    Compare(fn(Ordering) -> bool),
    Not,
    /// Where to go on if the last condition was so, or in any case.
    Jump(Option<bool>, usize),
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// The parser gives no operation without its operands: there is always one to take.
fn pop(stack: &mut Vec<Ratio>) -> Ratio {
    stack.pop().unwrap_or(Ratio::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::parse(text).unwrap()
    }

    fn eval(text: &str, value: &str, scale: u32) -> Result<String, String> {
        let dimensions = |name: &str| match name {
            "tokens" => Some(amount("1500")),
            "min" => Some(amount("7")),
            "gpu \"hours\"" => Some(amount("2.5")),
            _ => None,
        };
        let formula = Formula::parse(text).map_err(|error| error.to_string())?;
        formula.eval(amount(value), dimensions, scale).map(|cost| cost.to_string()).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn costs(text: &str, value: &str, cost: &str) {
        assert_eq!(eval(text, value, 18).as_deref(), Ok(cost), "{text}");
    }

    #[track_caller]
    fn fails(text: &str, message: &str) {
        assert_eq!(eval(text, "10", 2), Err(message.to_owned()), "{text}");
    }

    #[test]
    fn binds_as_in_arithmetic() {
        costs("1 + 2 * 3", "0", "7");
        costs("(1 + 2) * 3", "0", "9");
        costs("10 - 4 - 3", "0", "3");
        costs("24 / 4 / 2 * 3", "0", "9");
        costs("8 - -.5 * --2", "0", "9");
        costs("\t2*\n( value-1.50 )", "4", "5");
    }

    #[test]
    fn has_the_functions_of_the_contract() {
        costs("min(5, value, tokens) + max(1, 2)", "3", "5");
        costs("ceil(value / 4) * 10 + floor(value / 4)", "9", "32");
        costs("5 + ceil(-1.5) + floor(-1.5) * 2", "0", "0");
        costs("round(value) + round(value / 2, 1)", "2.5", "4.3");
        costs("10 + round(0 - value)", "2.5", "7");
        costs("if(value > 100, value * 2, if(value = 100, 1, 0))", "100", "1");
        costs("if(not value < 5 and (tokens >= 1500 or 1 = 2), 1, 0)", "5", "1");
        costs("if(1 <> 1 or 1 != 1 or 2 <= 1, 1, 0)", "5", "0");
    }

    #[test]
    fn reads_dimensions() {
        costs("tokens / 1000 * value", "2", "3");
        costs("\"min\" + min(\"gpu \"\"hours\"\"\", 3)", "0", "9.5");
        fails("value * Tokens", "the usage has no numeric dimension \"Tokens\"");
        let formula = Formula::parse("b + \"a\" + if(value > 1, b, c)").unwrap();
        assert_eq!(formula.dimensions(), ["b", "a", "c"]);
        assert_eq!(formula.as_text(), "b + \"a\" + if(value > 1, b, c)");
    }

    #[test]
    fn calculates_only_what_decides() {
        costs("if(value = 0, 1, 10 / value)", "0", "1");
        costs("if(value = 0 or 10 / value > 5, 1, unknown)", "0", "1");
        costs("if(value <> 0 and 10 / value > 5, unknown, 2)", "0", "2");
    }

    #[test]
    fn rounds_only_the_result() {
        costs("value / 3 * 3", "20", "20");
        costs("ceil(value / 3600 * 60)", "60", "1");
        costs("if(value / 7 + value / 7 * 6 = value, 1, 0)", "10", "1");
        assert_eq!(eval("value / 3", "2", 2).as_deref(), Ok("0.67"));
        assert_eq!(eval("value * 0.5", "1", 0).as_deref(), Ok("1"));
        assert_eq!(eval("value * 0.5 - 0.000000000000000001", "1", 0).as_deref(), Ok("0"));
        // What is nothing at the scale of the credit type is not negative either.
        assert_eq!(eval("0 - value", "0.4", 0).as_deref(), Ok("0"));
    }

    #[test]
    fn names_why_there_is_no_cost() {
        fails("value / (5 - 5)", "division by zero at character 7");
        fails("\"größe\" + 1", "the usage has no numeric dimension \"größe\"");
        fails("5 - value", "the cost would be negative: -5");
        let large = "999999999999999999";
        fails(&format!("{large} * {large} * {large} * {large} * {large}"), "the numbers become too large");
        fails(&format!("{large} * {large}"), "the numbers become too large");
        // Too large for a cost, but not on the way to one.
        costs(&format!("{large} * {large} * {large} / {large} / {large}"), "0", large);
    }

    #[test]
    fn points_at_what_it_cannot_read() {
        fails("", "unexpected end at character 1");
        fails("1 + ", "unexpected end at character 5");
        fails("1 + sqrt(4)", "unknown function \"sqrt\" at character 5");
        fails("sqrt(§)", "unknown function \"sqrt\" at character 1");
        fails("MIN(1, 2)", "unknown function \"MIN\" at character 1");
        fails("min + 1", "unexpected \"+\" at character 5");
        fails("value § 2", "unexpected \"§\" at character 7");
        fails("\"ü\" + \"ü\" %", "unexpected \"%\" at character 11");
        fails("2 value", "unexpected \"value\" at character 3");
        fails("1e5", "unexpected \"e5\" at character 2");
        fails("1.2.3", "unexpected \".3\" at character 4");
        fails("1.", "unexpected \".\" at character 2");
        fails("value)", "unexpected \")\" at character 6");
        fails("(value", "unexpected end at character 7");
        fails("1 + not 2 = 3", "condition where a number is needed, at character 5");
        fails("if(1 < 2 < 3, 1, 2)", "condition where a number is needed, at character 4");
        fails("if(1 == 2, 1, 2)", "unexpected \"=\" at character 7");
        fails("1 + \"open", "quoted name without an end at character 5");
        fails("1 + \"\"", "unexpected \"\\\"\\\"\" at character 5");
        fails("1 + min(value)", "min takes two or more arguments, not 1, at character 5");
        fails("ceil()", "ceil takes one argument, not 0, at character 1");
        fails("floor(1, 2)", "floor takes one argument, not 2, at character 1");
        fails("round(1, 2, 3)", "round takes one or two arguments, not 3, at character 1");
        fails("if(1 = 1, 2)", "if takes three arguments, not 2, at character 1");
        fails("if(1 = 1, 2, 3, 4)", "if takes three arguments, not 4, at character 1");
        fails("max(1,)", "unexpected \")\" at character 7");
        fails("round(1, 19)", "the places of round must be a whole number from 0 to 18, at character 10");
        fails("round(1, value)", "the places of round must be a whole number from 0 to 18, at character 10");
        fails("round(1, 0.5)", "the places of round must be a whole number from 0 to 18, at character 10");
        fails("1 + (value > 2)", "condition where a number is needed, at character 5");
        fails("if(value, 1, 2)", "number where a condition is needed, at character 4");
        fails("if(1 = 1 and 2, 1, 2)", "number where a condition is needed, at character 14");
        fails("1 + 1234567890123456789", "more than 18 digits before or after the point at character 5");
        fails("0.0000000000000000001", "more than 18 digits before or after the point at character 1");
        costs("0123456789012345678.50000000000000000000", "0", "123456789012345678.5");
    }

    #[test]
    fn has_an_end_to_its_patience() {
        let nested = |opening: &str, inner: &str, closing: &str, levels: usize| {
            format!("{}{inner}{}", opening.repeat(levels), closing.repeat(levels))
        };
        costs(&nested("(", "value", ")", 100), "1", "1");
        costs(&nested("-", "value", "", 100), "1", "1");
        costs(&nested("min(1,", "value", ")", 100), "1", "1");
        costs(&nested("if(not (1=2), ", "1", ",1)", 98), "1", "1");
        // Only what is nested counts.
        costs(&format!("0{}", "+1".repeat(999)), "1", "999");
        costs(&format!("0{}", "+ceil(1)*(1)*--1".repeat(120)), "1", "120");
        costs(&format!("if(1=2{}, 1, 0)", " or not 1=1".repeat(120)), "1", "0");
        let deep = "nested more than 100 levels deep at character";
        fails(&nested("(", "value", ")", 101), &format!("{deep} 101"));
        fails(&nested("-", "value", "", 101), &format!("{deep} 101"));
        fails(&format!("if({} 1=1, 1, 2)", "not ".repeat(101)), &format!("{deep} 400"));
        fails(&nested("ceil(", "value", ")", 200), &format!("{deep} 501"));
        for levels in [10_000, 10_000_000] {
            for opening in ["(", "-", "not ", "min(1,"] {
                fails(&opening.repeat(levels), "more than 2000 characters at character 2001");
            }
        }
        costs(&format!("{}1", " ".repeat(1_999)), "1", "1");
    }
}

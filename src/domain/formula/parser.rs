//! From text to operations. The grammar is at the head of `formula`.

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use super::{FormulaError, FormulaErrorKind, MAX_FORMULA_DEPTH, Operation, Operator, Ratio};
use crate::{Amount, MAX_SCALE};

struct Function {
    name: &'static str,
    arguments: RangeInclusive<usize>,
    /// The same in words.
    takes: &'static str,
}

const FUNCTIONS: [Function; 6] = [
    Function { name: "min", arguments: 2..=usize::MAX, takes: "two or more arguments" },
    Function { name: "max", arguments: 2..=usize::MAX, takes: "two or more arguments" },
    Function { name: "ceil", arguments: 1..=1, takes: "one argument" },
    Function { name: "floor", arguments: 1..=1, takes: "one argument" },
    Function { name: "round", arguments: 1..=2, takes: "one or two arguments" },
    Function { name: "if", arguments: 3..=3, takes: "three arguments" },
];

/// How tightly comparisons bind: `or` < `and` < `not` < comparisons < `+ -` < `* /`.
const COMPARISON: u32 = 3;

/// The longer first where one begins like another.
const SIGNS: [&str; 14] = ["<>", "!=", "<=", ">=", "<", ">", "=", "+", "-", "*", "/", "(", ")", ","];

enum Token<'a> {
    Number(Ratio),
    Word(&'a str),
    Quoted(String),
    Sign(&'a str),
    End,
}

/// The first token of a text that begins with no white space, and its length in bytes.
fn next_token(text: &str) -> Result<(Token<'_>, usize), FormulaErrorKind> {
    let span = |from: usize, belongs: fn(&u8) -> bool| text.bytes().skip(from).take_while(belongs).count();
    let whole = span(0, u8::is_ascii_digit);
    let decimals = if text[whole..].starts_with('.') { span(whole + 1, u8::is_ascii_digit) } else { 0 };
    if whole + decimals > 0 {
        let length = if decimals > 0 { whole + 1 + decimals } else { whole };
        return match Amount::parse(&text[..length]) {
            Ok(amount) if amount.within_outside_limit() => Ok((Token::Number(Ratio::from(amount).reduced()), length)),
            _ => Err(FormulaErrorKind::TooManyDigits),
        };
    }
    let word = span(0, |byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if word > 0 {
        return Ok((Token::Word(&text[..word]), word));
    }
    if text.starts_with('"') {
        let length = quoted(text).ok_or(FormulaErrorKind::OpenQuote)?;
        return Ok((Token::Quoted(text[1..length - 1].replace("\"\"", "\"")), length));
    }
    if let Some(sign) = SIGNS.into_iter().find(|sign| text.starts_with(sign)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    match text.chars().next() {
        Some(other) => Err(FormulaErrorKind::Unexpected(other.to_string())),
        None => Ok((Token::End, 0)),
    }
}

/// How long the quoted name at the head of the text is; nothing if it does not end.
fn quoted(text: &str) -> Option<usize> {
    let mut length = 1;
    loop {
        length += text[length..].find('"')? + 1;
        if !text[length..].starts_with('"') {
            return Some(length);
        }
        length += 1;
    }
}

/// Reads from the left with one token of foresight, and writes down the operations in the order of their execution.
pub(super) struct Parser<'a> {
    text: &'a str,
    token: Token<'a>,
    /// The bytes of the token.
    start: usize,
    end: usize,
    /// The character at which it begins.
    position: usize,
    depth: usize,
    code: Vec<Operation>,
    dimensions: Vec<String>,
}

/// A part that was read, and the character at which it begins. Parentheses may enclose either kind, so which it is
/// shows only at its end.
#[derive(Clone, Copy)]
struct Part {
    position: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Condition,
}

/// What stands between two parts.
#[derive(Clone, Copy)]
enum Infix {
    Arithmetic(Operator),
    Comparison(fn(Ordering) -> bool),
    /// `and` and `or`, with the left result that decides.
    Junction(bool),
}

impl Part {
    fn must_be(self, kind: Kind) -> Result<(), FormulaError> {
        let error = match kind {
            Kind::Number => FormulaErrorKind::NotANumber,
            Kind::Condition => FormulaErrorKind::NotACondition,
        };
        if self.kind == kind { Ok(()) } else { Err(FormulaError { position: self.position, kind: error }) }
    }
}

impl<'a> Parser<'a> {
    /// The operations, and the dimensions among them, each once.
    pub(super) fn read(text: &'a str) -> Result<(Vec<Operation>, Vec<String>), FormulaError> {
        let (code, dimensions) = (Vec::new(), Vec::new());
        let mut parser = Parser { text, token: Token::End, start: 0, end: 0, position: 1, depth: 0, code, dimensions };
        parser.advance()?;
        parser.expression(0)?.must_be(Kind::Number)?;
        match parser.token {
            Token::End => Ok((parser.code, parser.dimensions)),
            _ => Err(parser.unexpected()),
        }
    }

    fn unexpected(&self) -> FormulaError {
        let kind = match self.token {
            Token::End => FormulaErrorKind::UnexpectedEnd,
            _ => FormulaErrorKind::Unexpected(self.text[self.start..self.end].to_owned()),
        };
        FormulaError { position: self.position, kind }
    }

    fn advance(&mut self) -> Result<(), FormulaError> {
        let rest = self.text[self.end..].trim_start();
        let start = self.text.len() - rest.len();
        self.position += self.text[self.start..start].chars().count();
        self.start = start;
        let (token, length) = next_token(rest).map_err(|kind| FormulaError { position: self.position, kind })?;
        (self.token, self.end) = (token, start + length);
        Ok(())
    }

    /// Whether this sign or word comes next; it is passed then.
    fn passes(&mut self, wanted: &str) -> Result<bool, FormulaError> {
        let found = matches!(self.token, Token::Sign(found) | Token::Word(found) if found == wanted);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    /// An error ends everything, so `leave` need not follow one.
    fn enter(&mut self, position: usize) -> Result<(), FormulaError> {
        if self.depth == MAX_FORMULA_DEPTH {
            return Err(FormulaError { position, kind: FormulaErrorKind::TooDeep });
        }
        self.depth += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Sets the target of a jump to what comes next.
    fn land(&mut self, jump: usize) {
        let here = self.code.len();
        if let Some(Operation::Jump(_, target)) = self.code.get_mut(jump) {
            *target = here;
        }
    }

    /// Writes a jump, for `land`.
    fn jump(&mut self, condition: Option<bool>) -> usize {
        self.code.push(Operation::Jump(condition, 0));
        self.code.len() - 1
    }

    /// What the token does between two parts, and how tightly it binds.
    fn infix(&self) -> Option<(Infix, u32)> {
        let comparison = |wanted: fn(Ordering) -> bool| Some((Infix::Comparison(wanted), COMPARISON));
        match self.token {
            Token::Word("or") => Some((Infix::Junction(true), COMPARISON - 2)),
            Token::Word("and") => Some((Infix::Junction(false), COMPARISON - 1)),
            Token::Sign("=") => comparison(Ordering::is_eq),
            Token::Sign("<>" | "!=") => comparison(Ordering::is_ne),
            Token::Sign("<") => comparison(Ordering::is_lt),
            Token::Sign("<=") => comparison(Ordering::is_le),
            Token::Sign(">") => comparison(Ordering::is_gt),
            Token::Sign(">=") => comparison(Ordering::is_ge),
            Token::Sign("+") => Some((Infix::Arithmetic(Operator::Add), COMPARISON + 1)),
            Token::Sign("-") => Some((Infix::Arithmetic(Operator::Subtract), COMPARISON + 1)),
            Token::Sign("*") => Some((Infix::Arithmetic(Operator::Multiply), COMPARISON + 2)),
            Token::Sign("/") => Some((Infix::Arithmetic(Operator::Divide), COMPARISON + 2)),
            _ => None,
        }
    }

    /// As far as operators bind at least so tightly.
    fn expression(&mut self, level: u32) -> Result<Part, FormulaError> {
        let mut left = self.operand()?;
        while let Some((infix, binding)) = self.infix().filter(|(_, binding)| *binding >= level) {
            let sides = if matches!(infix, Infix::Junction(_)) { Kind::Condition } else { Kind::Number };
            left.must_be(sides)?;
            let position = self.position;
            self.advance()?;
            let jump = if let Infix::Junction(decisive) = infix { Some(self.jump(Some(decisive))) } else { None };
            self.expression(binding + 1)?.must_be(sides)?;
            match infix {
                Infix::Arithmetic(operator) => self.code.push(Operation::Arithmetic(operator, position)),
                Infix::Comparison(wanted) => self.code.push(Operation::Compare(wanted)),
                Infix::Junction(_) => {}
            }
            jump.into_iter().for_each(|jump| self.land(jump));
            left.kind = if matches!(infix, Infix::Arithmetic(_)) { Kind::Number } else { Kind::Condition };
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Part, FormulaError> {
        let position = self.position;
        let mut kind = Kind::Number;
        if self.passes("-")? {
            self.enter(position)?;
            self.operand()?.must_be(kind)?;
            self.leave();
            self.code.push(Operation::Negate);
        } else if self.passes("not")? {
            kind = Kind::Condition;
            self.enter(position)?;
            self.expression(COMPARISON)?.must_be(kind)?;
            self.leave();
            self.code.push(Operation::Not);
        } else if self.passes("(")? {
            self.enter(position)?;
            kind = self.expression(0)?.kind;
            self.leave();
            self.require(")")?;
        } else {
            self.primary()?;
        }
        Ok(Part { position, kind })
    }

    fn primary(&mut self) -> Result<(), FormulaError> {
        match std::mem::replace(&mut self.token, Token::End) {
            Token::Number(number) => self.code.push(Operation::Constant(number)),
            Token::Quoted(name) if !name.is_empty() => self.dimension(name),
            Token::Word("value") => self.code.push(Operation::Value),
            Token::Word(word) if !["and", "or"].contains(&word) => return self.name(word),
            other => {
                self.token = other;
                return Err(self.unexpected());
            }
        }
        self.advance()
    }

    fn dimension(&mut self, name: String) {
        let index = self.dimensions.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.dimensions.push(name);
            self.dimensions.len() - 1
        });
        self.code.push(Operation::Dimension(index));
    }

    /// A function or a dimension.
    fn name(&mut self, word: &str) -> Result<(), FormulaError> {
        let position = self.position;
        self.advance()?;
        let function = FUNCTIONS.iter().find(|function| function.name == word);
        match (function, matches!(self.token, Token::Sign("("))) {
            (Some(function), true) => self.call(function, position),
            (Some(_), false) => Err(self.unexpected()),
            (None, true) => Err(FormulaError { position, kind: FormulaErrorKind::UnknownFunction(word.to_owned()) }),
            (None, false) => {
                self.dimension(word.to_owned());
                Ok(())
            }
        }
    }

    fn call(&mut self, function: &Function, position: usize) -> Result<(), FormulaError> {
        self.advance()?;
        self.enter(position)?;
        let mut given = 0;
        let mut jump = 0;
        while !self.passes(")")? {
            if given > 0 {
                self.require(",")?;
            }
            let begin = self.code.len();
            let part = self.expression(0)?;
            given += 1;
            let condition = function.name == "if" && given == 1;
            part.must_be(if condition { Kind::Condition } else { Kind::Number })?;
            match (function.name, given) {
                ("if", 1) => jump = self.jump(Some(false)),
                ("if", 2) => {
                    let end = self.jump(None);
                    self.land(jump);
                    jump = end;
                }
                ("if", 3) => self.land(jump),
                ("min", 2..) => self.code.push(Operation::Choose(Ordering::Less)),
                ("max", 2..) => self.code.push(Operation::Choose(Ordering::Greater)),
                ("ceil", 1) => self.code.push(Operation::Ceil),
                ("floor", 1) => self.code.push(Operation::Floor),
                ("round", 1) => self.code.push(Operation::Round(0)),
                ("round", 2) => {
                    let places = places(&self.code[begin..])
                        .ok_or(FormulaError { position: part.position, kind: FormulaErrorKind::Places })?;
                    self.code.truncate(begin - 1);
                    self.code.push(Operation::Round(places));
                }
                _ => {}
            }
        }
        self.leave();
        if function.arguments.contains(&given) {
            return Ok(());
        }
        let kind = FormulaErrorKind::Arguments { function: function.name, takes: function.takes, given };
        Err(FormulaError { position, kind })
    }

    /// Passes a sign that must come next.
    fn require(&mut self, sign: &str) -> Result<(), FormulaError> {
        if self.passes(sign)? { Ok(()) } else { Err(self.unexpected()) }
    }
}

/// The constant that the second argument of `round` must be.
fn places(code: &[Operation]) -> Option<u32> {
    let [Operation::Constant(number)] = code else { return None };
    let given = number.to_amount(MAX_SCALE)?;
    (0..=MAX_SCALE).find(|places| given == Amount::from_units((*places).into()))
}

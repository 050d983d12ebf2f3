//! Formulas against trees that are calculated with small fractions as at school.

use proptest::prelude::*;

use super::cases;
use crate::{Amount, EvalError, Formula, FormulaError, FormulaErrorKind};

/// A fraction in lowest terms, with a positive denominator.
type Fraction = (i128, i128);

/// Why a tree has no result; `TooLarge` only for these fractions.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failure {
    Missing,
    DivisionByZero,
    TooLarge,
}

#[derive(Clone, Debug)]
enum Tree {
    /// So many hundredths.
    Number(i64),
    Value,
    Dimension(usize),
    Grouped(Box<Tree>),
    Negated(Box<Tree>),
    Binary(char, Box<Tree>, Box<Tree>),
    Extreme(bool, Vec<Tree>),
    Ceil(Box<Tree>),
    Floor(Box<Tree>),
    Round(Box<Tree>, Option<u32>),
    If(Box<Claim>, Box<Tree>, Box<Tree>),
}

#[derive(Clone, Debug)]
enum Claim {
    Compared(&'static str, Tree, Tree),
    Not(Box<Claim>),
    Both(Box<Claim>, Box<Claim>),
    Either(Box<Claim>, Box<Claim>),
}

/// The last is missing in the usage.
const DIMENSIONS: [(&str, &str); 6] = [
    ("tokens", "tokens"),
    ("_a1", "_a1"),
    ("min", "\"min\""),
    ("größe in \"\"", "\"größe in \"\"\"\"\""),
    ("and", "\"and\""),
    ("absent", "absent"),
];

/// In hundredths: the value, then the dimensions that are there.
type Hundredths = [i64; 6];

fn hundredths(count: i64) -> Amount {
    Amount::from_scaled(count.into(), 2).unwrap()
}

fn fraction(numerator: i128, denominator: i128) -> Fraction {
    let (mut a, mut b) = (numerator.abs(), denominator.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    let shared = if denominator < 0 { -a } else { a };
    (numerator / shared, denominator / shared)
}

fn calculate(operator: char, (a, b): Fraction, (c, d): Fraction) -> Option<Fraction> {
    match operator {
        '+' => Some(fraction(a.checked_mul(d)?.checked_add(c.checked_mul(b)?)?, b.checked_mul(d)?)),
        '-' => calculate('+', (a, b), (-c, d)),
        '*' => Some(fraction(a.checked_mul(c)?, b.checked_mul(d)?)),
        _ => Some(fraction(a.checked_mul(d)?, b.checked_mul(c)?)),
    }
}

/// Half away from zero, as a count of 10^-`places`.
fn rounded((numerator, denominator): Fraction, places: u32) -> Option<i128> {
    let twice = numerator.abs().checked_mul(10_i128.pow(places))?.checked_mul(2)?;
    Some(numerator.signum() * (twice.checked_add(denominator)? / denominator.checked_mul(2)?))
}

impl Tree {
    fn result(&self, usage: &Hundredths) -> Result<Fraction, Failure> {
        match self {
            Tree::Number(count) => Ok(fraction((*count).into(), 100)),
            Tree::Value => Ok(fraction(usage[0].into(), 100)),
            Tree::Dimension(index) => {
                usage.get(index + 1).map(|count| fraction((*count).into(), 100)).ok_or(Failure::Missing)
            }
            Tree::Grouped(inner) => inner.result(usage),
            Tree::Negated(inner) => inner.result(usage).map(|(a, b)| (-a, b)),
            Tree::Binary(operator, left, right) => {
                let (left, right) = (left.result(usage)?, right.result(usage)?);
                if *operator == '/' && right.0 == 0 {
                    return Err(Failure::DivisionByZero);
                }
                calculate(*operator, left, right).ok_or(Failure::TooLarge)
            }
            Tree::Extreme(largest, parts) => {
                let mut best = parts[0].result(usage)?;
                for part in &parts[1..] {
                    let next = part.result(usage)?;
                    let difference = calculate('-', next, best).ok_or(Failure::TooLarge)?.0;
                    if (difference > 0) == *largest {
                        best = next;
                    }
                }
                Ok(best)
            }
            Tree::Ceil(inner) => inner.result(usage).map(|(a, b)| (-(-a).div_euclid(b), 1)),
            Tree::Floor(inner) => inner.result(usage).map(|(a, b)| (a.div_euclid(b), 1)),
            Tree::Round(inner, places) => {
                let places = places.unwrap_or(0);
                let count = rounded(inner.result(usage)?, places).ok_or(Failure::TooLarge)?;
                Ok(fraction(count, 10_i128.pow(places)))
            }
            Tree::If(claim, yes, no) => if claim.holds(usage)? { yes } else { no }.result(usage),
        }
    }

    /// How tightly its outermost operator binds.
    fn level(&self) -> u32 {
        match self {
            Tree::Binary('+' | '-', ..) => 5,
            Tree::Binary(..) => 6,
            Tree::Negated(_) => 7,
            _ => 8,
        }
    }

    /// With parentheses only where its surroundings bind tighter.
    fn print(&self, surroundings: u32, tokens: &mut Vec<String>) {
        if self.level() < surroundings {
            return in_parentheses(tokens, |tokens| self.print(0, tokens));
        }
        let call = |name: &str, arguments: &[&Tree], tokens: &mut Vec<String>| {
            tokens.push(name.into());
            in_parentheses(tokens, |tokens| separated(arguments, tokens));
        };
        match self {
            Tree::Number(count) => tokens.push(hundredths(*count).to_string()),
            Tree::Value => tokens.push("value".into()),
            Tree::Dimension(index) => tokens.push(DIMENSIONS[*index].1.into()),
            Tree::Grouped(inner) => in_parentheses(tokens, |tokens| inner.print(0, tokens)),
            Tree::Negated(inner) => {
                tokens.push("-".into());
                inner.print(7, tokens);
            }
            Tree::Binary(operator, left, right) => {
                left.print(self.level(), tokens);
                tokens.push(operator.to_string());
                right.print(self.level() + 1, tokens);
            }
            Tree::Extreme(largest, parts) => {
                call(if *largest { "max" } else { "min" }, &parts.iter().collect::<Vec<_>>(), tokens);
            }
            Tree::Ceil(inner) => call("ceil", &[inner], tokens),
            Tree::Floor(inner) => call("floor", &[inner], tokens),
            Tree::Round(inner, None) => call("round", &[inner], tokens),
            Tree::Round(inner, Some(places)) => {
                call("round", &[inner, &Tree::Number(i64::from(*places) * 100)], tokens);
            }
            Tree::If(claim, yes, no) => {
                tokens.push("if".into());
                in_parentheses(tokens, |tokens| {
                    claim.print(0, tokens);
                    tokens.push(",".into());
                    separated(&[yes, no], tokens);
                });
            }
        }
    }
}

impl Claim {
    fn holds(&self, usage: &Hundredths) -> Result<bool, Failure> {
        Ok(match self {
            Claim::Compared(sign, left, right) => {
                let difference = calculate('-', left.result(usage)?, right.result(usage)?);
                let sides = difference.ok_or(Failure::TooLarge)?.0.signum();
                match *sign {
                    "=" => sides == 0,
                    "<>" | "!=" => sides != 0,
                    "<" => sides < 0,
                    "<=" => sides <= 0,
                    ">" => sides > 0,
                    _ => sides >= 0,
                }
            }
            Claim::Not(inner) => !inner.holds(usage)?,
            Claim::Both(left, right) => left.holds(usage)? && right.holds(usage)?,
            Claim::Either(left, right) => left.holds(usage)? || right.holds(usage)?,
        })
    }

    fn print(&self, surroundings: u32, tokens: &mut Vec<String>) {
        let (level, word, sides) = match self {
            Claim::Compared(sign, left, right) => {
                left.print(5, tokens);
                tokens.push((*sign).into());
                return right.print(5, tokens);
            }
            Claim::Not(inner) => {
                tokens.push("not".into());
                return inner.print(3, tokens);
            }
            Claim::Both(left, right) => (2, "and", [left, right]),
            Claim::Either(left, right) => (1, "or", [left, right]),
        };
        if level < surroundings {
            return in_parentheses(tokens, |tokens| self.print(0, tokens));
        }
        sides[0].print(level, tokens);
        tokens.push(word.into());
        sides[1].print(level + 1, tokens);
    }
}

fn in_parentheses(tokens: &mut Vec<String>, inner: impl FnOnce(&mut Vec<String>)) {
    tokens.push("(".into());
    inner(tokens);
    tokens.push(")".into());
}

fn separated(trees: &[&Tree], tokens: &mut Vec<String>) {
    for (index, tree) in trees.iter().enumerate() {
        if index > 0 {
            tokens.push(",".into());
        }
        tree.print(0, tokens);
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        3 => (0..=2_000_i64).prop_map(Tree::Number),
        2 => (0..=20_i64).prop_map(|whole| Tree::Number(whole * 100)),
        3 => Just(Tree::Value),
        4 => (0..5_usize).prop_map(Tree::Dimension),
        1 => (0..100_u32).prop_map(|rare| Tree::Dimension(if rare == 0 { 5 } else { 0 })),
    ];
    leaf.prop_recursive(8, 64, 3, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let binary = (prop::sample::select(&['+', '-', '*', '/'][..]), boxed(), boxed());
        let extreme = (any::<bool>(), prop::collection::vec(inner.clone(), 2..5));
        let places = prop::option::of(0..=5_u32);
        prop_oneof![
            1 => boxed().prop_map(Tree::Grouped),
            1 => boxed().prop_map(Tree::Negated),
            8 => binary.prop_map(|(operator, left, right)| Tree::Binary(operator, left, right)),
            2 => extreme.prop_map(|(largest, parts)| Tree::Extreme(largest, parts)),
            1 => boxed().prop_map(Tree::Ceil),
            1 => boxed().prop_map(Tree::Floor),
            1 => (boxed(), places).prop_map(|(inner, places)| Tree::Round(inner, places)),
            2 => (claims(inner.clone()), boxed(), boxed()).prop_map(|(c, yes, no)| Tree::If(Box::new(c), yes, no)),
        ]
    })
}

fn claims(tree: impl Strategy<Value = Tree> + Clone + 'static) -> impl Strategy<Value = Claim> {
    let sign = prop::sample::select(&["=", "<>", "!=", "<", "<=", ">", ">="][..]);
    let compared = (sign, tree.clone(), tree).prop_map(|(sign, left, right)| Claim::Compared(sign, left, right));
    compared.prop_recursive(2, 4, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        prop_oneof![
            boxed().prop_map(Claim::Not),
            (boxed(), boxed()).prop_map(|(left, right)| Claim::Both(left, right)),
            (boxed(), boxed()).prop_map(|(left, right)| Claim::Either(left, right)),
        ]
    })
}

fn usages() -> impl Strategy<Value = Hundredths> {
    prop_oneof![prop::array::uniform6(0..10_000_i64), prop::array::uniform6((-3..=10_i64).prop_map(|w| w * 100))]
}

fn tokens(tree: &Tree) -> Vec<String> {
    let mut tokens = Vec::new();
    tree.print(0, &mut tokens);
    tokens
}

/// Joined by as much white space as `spaces` says, and by some where words would run together.
fn joined(tokens: &[String], spaces: &[usize]) -> String {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut text = String::new();
    for (index, token) in tokens.iter().enumerate() {
        text.push_str(["", "", " ", "\n\t "][spaces[index % spaces.len()]]);
        if text.ends_with(word) && token.starts_with(word) {
            text.push(' ');
        }
        text.push_str(token);
    }
    text
}

fn spaces() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..4_usize, 1..20)
}

/// Any magnitude alike.
fn raws() -> impl Strategy<Value = i128> {
    (0..=127_u32, any::<u128>(), any::<bool>()).prop_map(|(bits, random, negative)| {
        let magnitude = (random & ((1_u128 << bits) - 1)) as i128;
        if negative { -magnitude } else { magnitude }
    })
}

fn none(_: &str) -> Option<Amount> {
    None
}

fn parsed(text: &str) -> Formula {
    Formula::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn what_is_printed_costs_what_the_tree_costs(
        tree in trees(), usage in usages(), spaces in spaces(), scale in 0..=6_u32,
    ) {
        let text = joined(&tokens(&tree), &spaces);
        prop_assume!(text.chars().count() <= crate::MAX_FORMULA_CHARS);
        let formula = parsed(&text);
        let lookup = |name: &str| {
            let index = DIMENSIONS.iter().position(|(known, _)| *known == name).unwrap();
            assert!(formula.dimensions().iter().any(|listed| listed == name));
            usage.get(index + 1).map(|count| hundredths(*count))
        };
        let found = formula.eval(hundredths(usage[0]), lookup, scale);
        match tree.result(&usage).and_then(|result| rounded(result, scale).ok_or(Failure::TooLarge)) {
            // Then there is nothing to compare with; that it ends is enough.
            Err(Failure::TooLarge) => {}
            Err(Failure::Missing) => prop_assert_eq!(found, Err(EvalError::MissingDimension("absent".into()))),
            Err(Failure::DivisionByZero) => match found {
                Err(EvalError::DivisionByZero(at)) => prop_assert_eq!(text.chars().nth(at - 1), Some('/')),
                other => prop_assert!(false, "{other:?}"),
            },
            Ok(count) => match Amount::from_scaled(count, scale) {
                None => prop_assert_eq!(found, Err(EvalError::Overflow)),
                Some(cost) if cost.is_negative() => prop_assert_eq!(found, Err(EvalError::Negative(cost))),
                Some(cost) => prop_assert_eq!(found, Ok(cost)),
            },
        }
    }

    #[test]
    fn a_plain_rate_costs_what_the_contract_says(
        rate in raws().prop_map(|raw| raw.abs() % 10_i128.pow(36)), value in raws(), scale in 0..=18_u32,
    ) {
        let (rate, value) = (Amount::from_raw(rate), Amount::from_raw(value));
        let expected = match value.multiply_rounded(rate, scale) {
            None => Err(EvalError::Overflow),
            Some(cost) if cost.is_negative() => Err(EvalError::Negative(cost)),
            Some(cost) => Ok(cost),
        };
        prop_assert_eq!(parsed(&format!("{rate}*value")).eval(value, none, scale), expected.clone());
        prop_assert_eq!(parsed("value * rate").eval(value, |_| Some(rate), scale), expected);
    }

    #[test]
    fn what_is_divided_and_multiplied_back_is_whole(value in 0..10_i64.pow(17), divisor in 1..10_i64.pow(17)) {
        let amount = Amount::from_units(value);
        for text in ["ceil(value / n * n)", "floor(n * (value / n))", "if(value / n * n = value, value, n / 0)"] {
            let cost = parsed(text).eval(amount, |_| Some(Amount::from_units(divisor)), 0);
            prop_assert_eq!(cost, Ok(amount));
        }
    }

    /// Where the exact way ends, the other agrees with it as far as it goes.
    #[test]
    fn large_figures_keep_their_leading_digits(a in raws(), b in raws(), c in raws()) {
        let [a, b, c] = [a, b, c].map(|raw| Amount::from_raw(raw.abs() % 10_i128.pow(30) + 1));
        let lookup = |name: &str| Some(if name == "b" { b } else { c });
        let once = parsed("value*b*c").eval(a, lookup, 18);
        let other = parsed("c*b*value").eval(a, lookup, 18);
        match (once, other) {
            (Ok(once), Ok(other)) => prop_assert!((once.raw() - other.raw()).abs() <= 1, "{once} {other}"),
            (once, other) => prop_assert_eq!(once, other),
        }
    }
}

// These take long without optimization.
proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_text_is_read_or_refused_within_it(
        text in prop_oneof![
            "\\PC{0,40}",
            "([-+*/(),<>=!\" .]|[0-9]{1,20}|value|a|min\\(|if\\(|round\\(|ceil\\(|not |and |or ){0,60}",
            "\\(*-*[0-9]{1,3}( ?[-+*/] ?(value|[0-9]{1,18}|\\.[0-9]{1,18}|a)){0,60}",
        ],
        value in raws(), dimension in raws(),
    ) {
        match Formula::parse(&text) {
            Ok(formula) => {
                let _ = formula.eval(Amount::from_raw(value), |_| Some(Amount::from_raw(dimension)), 18);
            }
            Err(error) => {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.position));
                let place = format!(" at character {}", error.position);
                prop_assert!(error.to_string().ends_with(&place), "{error}");
            }
        }
    }

    /// Products too long for an exact place: the figures have up to 18 decimals and 12 digits before them.
    #[test]
    fn long_figures_lose_nothing_that_is_seen(raw in prop::array::uniform4(10_i128.pow(18)..10_i128.pow(30))) {
        let [value, a, b, c] = raw.map(Amount::from_raw);
        let lookup = |name: &str| Some(match name { "a" => a, "b" => b, _ => c });
        for text in [
            "value*a*b/(a*b)",
            "value/a/b*(b*a)",
            "(value*a*b + value*b*a)/b/2/a",
            "value*a/c*c/a",
            "(value/a + b/c)*a - b/c*a",
        ] {
            let cost = parsed(text).eval(value, lookup, 17).unwrap();
            let expected = value.multiply_rounded(Amount::ONE, 17).unwrap();
            let off = (cost.raw() - expected.raw()).abs();
            prop_assert!(off <= 10, "{text}: {cost}, not {expected}");
        }
    }

    #[test]
    fn a_strange_character_is_pointed_at(tree in trees(), spaces in spaces(), at in any::<prop::sample::Index>()) {
        let mut tokens = tokens(&tree);
        tokens.insert(at.index(tokens.len() + 1), "§".into());
        let text = joined(&tokens, &spaces);
        prop_assume!(text.chars().count() <= crate::MAX_FORMULA_CHARS);
        let error = Formula::parse(&text).unwrap_err();
        let position = text.chars().position(|c| c == '§').unwrap() + 1;
        prop_assert_eq!(error, FormulaError { position, kind: FormulaErrorKind::Unexpected("§".into()) });
    }

    #[test]
    fn deep_nesting_is_refused(openings in prop::collection::vec(0..6_usize, 101..300)) {
        let kinds = ["(", "-", "- (", "min(1,", "ceil(", "if(1="];
        let text: String = openings.into_iter().map(|which| kinds[which]).collect();
        let kind = Formula::parse(&text).unwrap_err().kind;
        prop_assert_eq!(kind, FormulaErrorKind::TooDeep);
    }
}

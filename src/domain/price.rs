//! What a usage of a feature costs.

use std::rc::Rc;

use crate::{Amount, EvalError, Formula};

/// The price of a feature in one version of its rate. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Price {
    /// Credits for each unit.
    PerUnit(Amount),
    /// Credits for the whole usage, of its value and its dimensions.
    Formula(Rc<Formula>),
}

impl Price {
    /// The cost of a usage, rounded half away from zero to the credit type's scale (contract, sections 1 and 3).
    pub fn cost(
        &self,
        value: Amount,
        dimension: impl FnMut(&str) -> Option<Amount>,
        scale: u32,
    ) -> Result<Amount, EvalError> {
        match self {
            Price::PerUnit(each) => value.multiply_rounded(*each, scale).ok_or(EvalError::Overflow),
            Price::Formula(formula) => formula.eval(value, dimension, scale),
        }
    }

    /// Credits per unit, where there is such a figure.
    pub fn per_unit(&self) -> Option<Amount> {
        match self {
            Price::PerUnit(each) => Some(*each),
            Price::Formula(_) => None,
        }
    }

    pub fn formula(&self) -> Option<&str> {
        match self {
            Price::PerUnit(_) => None,
            Price::Formula(formula) => Some(formula.as_text()),
        }
    }
}

impl PartialEq for Price {
    fn eq(&self, other: &Price) -> bool {
        (self.per_unit(), self.formula()) == (other.per_unit(), other.formula())
    }
}

impl Eq for Price {}

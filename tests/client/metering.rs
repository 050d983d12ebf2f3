//! tba

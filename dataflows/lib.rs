//! trueup.

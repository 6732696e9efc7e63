//! Catalog files.

//! From options to `config.json`: pure.

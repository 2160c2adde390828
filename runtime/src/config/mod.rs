//! Reading and validating `config.json`: pure.

//! Stories over several services, architecture rules, the access oracle and the crash campaign: see `it/`.

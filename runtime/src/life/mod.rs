//! What is on disk while a container lives: status, store, signals, deletion.

//! Pods: containers that share namespaces and are looked after together.

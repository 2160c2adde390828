//! OCI hooks: phases as data, and their runner.

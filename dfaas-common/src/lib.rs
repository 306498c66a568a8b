//! The map layouts and the pure parts of the data plane, shared by kernel and host.
#![no_std]

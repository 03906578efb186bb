//! The scheduler by itself: faults, and what they must not touch.

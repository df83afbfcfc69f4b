//! Families: from a checkpoint's configuration to a [`crate::spec::Spec`]. No tensor is touched.

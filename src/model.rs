//! A folder, file or hub id to a ready model.

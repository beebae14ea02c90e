//! Go text templates (placeholder until the engine lands).

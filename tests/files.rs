//! The readers of untrusted bytes: files built byte by byte here, a few written by the real programs, and mutations.

#[path = "files/checkpoint.rs"]
mod checkpoint;
#[path = "files/corpus.rs"]
mod corpus;
#[path = "files/embeddings.rs"]
mod embeddings;
#[path = "files/hostile.rs"]
mod hostile;
#[path = "fuzz/model_targets.rs"]
mod model_targets;
#[path = "files/mutations.rs"]
mod mutations;
#[path = "files/names.rs"]
mod names;
#[path = "files/pickles.rs"]
mod pickles;
#[path = "files/safetensors.rs"]
mod safetensors;
#[path = "files/sniff.rs"]
mod sniff;
#[path = "support/sparse.rs"]
mod sparse;
#[path = "fuzz/targets.rs"]
mod targets;
#[path = "files/writers.rs"]
mod writers;
#[path = "files/written.rs"]
mod written;

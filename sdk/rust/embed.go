// Package rust holds the SDK for providers in Rust, so that a new project can be given a
// copy. What it offers is told in src/lib.rs.
package rust

import "embed"

// Files are Cargo.toml and the sources, below src.
//
//go:embed Cargo.toml src
var Files embed.FS

// Package c holds the SDK for providers in C, so that a new project can be given a copy.
// What it offers is told in src/shield.h.
package c

import "embed"

// Files are the sources, below src.
//
//go:embed src
var Files embed.FS

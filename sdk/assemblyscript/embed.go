// Package assemblyscript holds the SDK for providers in AssemblyScript, so that a new
// project can be given a copy. What it offers is told in assembly/index.ts. package.json and
// its lock pin the compiler that it is tested with.
package assemblyscript

import "embed"

// Files are the sources, below assembly.
//
//go:embed assembly
var Files embed.FS

//go:build !linux && !wasip1

package serve

// keepStdout has no way here: a provider must not write to standard output by itself.
func keepStdout() error { return nil }

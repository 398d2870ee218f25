package main

import (
	"os"
	"path/filepath"
)

// compileCache returns where the commands for authors keep the code that they compile, so
// that a plugin is compiled once: below XDG_CACHE_HOME, or below .cache at home. It is empty,
// and each command compiles anew, where there is no such place.
func compileCache(env func(string) (string, bool)) string {
	base, _ := env("XDG_CACHE_HOME")
	if home, _ := env("HOME"); base == "" && home != "" {
		base = filepath.Join(home, ".cache")
	}
	if !filepath.IsAbs(base) {
		return ""
	}
	dir := filepath.Join(base, "shield", "plugins")
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

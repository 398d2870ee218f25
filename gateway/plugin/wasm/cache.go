package wasm

import (
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
)

// private makes the directory of the compile cache, or refuses one that others may write to.
func private(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("compile cache: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("compile cache: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("compile cache %s may be written by others, who could run code in this process: want mode 0700", dir)
	}
	if !owned(info) {
		return fmt.Errorf("compile cache %s belongs to another user, who could run code in this process", dir)
	}
	return nil
}

func openCache(dir string) (wazero.CompilationCache, error) {
	if err := private(dir); err != nil {
		return nil, err
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("compile cache: %w", err)
	}
	return cache, nil
}

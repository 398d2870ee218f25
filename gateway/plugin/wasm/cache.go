package wasm

import (
	"fmt"
	"os"

	"github.com/tetratelabs/wazero"
)

// openCache makes the directory of the compile cache, or refuses one that is not private.
func openCache(dir string) (wazero.CompilationCache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("compile cache: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("compile cache: %w", err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, fmt.Errorf("compile cache %s may be written by others, who could run code in this process: want mode 0700", dir)
	}
	if !owned(info) {
		return nil, fmt.Errorf("compile cache %s belongs to another user, who could run code in this process", dir)
	}
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		return nil, fmt.Errorf("compile cache: %w", err)
	}
	return cache, nil
}

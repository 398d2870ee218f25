//go:build unix

package wasm

import (
	"os"
	"syscall"
)

// owned reports whether a file belongs to the user of this process, or to root.
func owned(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (int(st.Uid) == os.Geteuid() || st.Uid == 0)
}
